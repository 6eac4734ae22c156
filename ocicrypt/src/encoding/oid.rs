//! The object identifiers of algorithms and content types.

use pkcs8::spki::ObjectIdentifier;

use crate::encoding::asn1::{Element, OBJECT_IDENTIFIER, Reader, SEQUENCE};
use crate::encoding::text::printable;

macro_rules! oids {
    ($($name:ident = $text:literal;)*) => {
        $(pub(crate) const $name: ObjectIdentifier = ObjectIdentifier::new_unwrap($text);)*
    };
}

// RFC 5652 and RFC 5083: content types.
oids! {
    ENVELOPED_DATA = "1.2.840.113549.1.7.3";
    AUTH_ENVELOPED_DATA = "1.2.840.113549.1.9.16.1.23";
}

// RFC 8017: RSA.
oids! {
    RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
    RSAES_OAEP = "1.2.840.113549.1.1.7";
    MGF1 = "1.2.840.113549.1.1.8";
    P_SPECIFIED = "1.2.840.113549.1.1.9";
    RSASSA_PSS = "1.2.840.113549.1.1.10";
}

// FIPS 180-4: hash functions.
oids! {
    SHA1 = "1.3.14.3.2.26";
    SHA224 = "2.16.840.1.101.3.4.2.4";
    SHA256 = "2.16.840.1.101.3.4.2.1";
    SHA384 = "2.16.840.1.101.3.4.2.2";
    SHA512 = "2.16.840.1.101.3.4.2.3";
}

// Content encryption: DES and triple DES (RFC 8018), AES (RFC 3565, RFC 5084).
oids! {
    DES_CBC = "1.3.14.3.2.7";
    DES_EDE3_CBC = "1.2.840.113549.3.7";
    AES_128_CBC = "2.16.840.1.101.3.4.1.2";
    AES_192_CBC = "2.16.840.1.101.3.4.1.22";
    AES_256_CBC = "2.16.840.1.101.3.4.1.42";
    AES_128_GCM = "2.16.840.1.101.3.4.1.6";
    AES_192_GCM = "2.16.840.1.101.3.4.1.26";
    AES_256_GCM = "2.16.840.1.101.3.4.1.46";
}

// RFC 5280, section 4.2.1.2.
oids! {
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
}

/// `AlgorithmIdentifier` (RFC 5280, section 4.1.1.2).
pub(crate) struct Algorithm<'a> {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) parameters: Option<Element<'a>>,
}

impl<'a> Algorithm<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut inside = reader.inside(SEQUENCE)?;
        let oid = read(&mut inside)?;
        Some(Self { oid, parameters: inside.any() })
    }

    /// The name for a message.
    pub(crate) fn shown(&self) -> String {
        shown(&self.oid)
    }
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Option<ObjectIdentifier> {
    ObjectIdentifier::from_bytes(reader.element(OBJECT_IDENTIFIER)?.content).ok()
}

pub(crate) fn shown(oid: &ObjectIdentifier) -> String {
    printable(&oid.to_string())
}
