//! X.509 certificates (RFC 5280, section 4.1): the parts that identify their owner.

use std::fmt;

use super::Fingerprint;
use crate::encoding::asn1::{
    self, BIT_STRING, CONSTRUCTED, INTEGER, OCTET_STRING, Reader, SEQUENCE, context, trim_integer,
};
use crate::encoding::oid;

/// A certificate: the names by which a message can refer to it, and the fingerprint of its public key,
/// which identifies the private key.
///
/// It is not verified: a forged certificate only selects a key that opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) issuer: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) subject_key: Option<Vec<u8>>,
    public_key: Fingerprint,
}

impl Certificate {
    /// Reads a DER certificate; bytes after it are ignored. None if it is not one.
    pub fn parse(der: &[u8]) -> Option<Self> {
        // Lengths are made definite and minimal, so that the issuer can be compared with that of a
        // message.
        let der = asn1::definite(der)?;
        let mut certificate = Reader::new(&der).inside(SEQUENCE)?;
        let mut signed = certificate.inside(SEQUENCE)?;
        certificate.element(SEQUENCE)?;
        certificate.element(BIT_STRING)?;
        signed.optional(context(0) | CONSTRUCTED);
        let serial = signed.element(INTEGER)?;
        signed.element(SEQUENCE)?;
        let issuer = signed.element(SEQUENCE)?;
        let _validity = signed.element(SEQUENCE)?;
        let _subject = signed.element(SEQUENCE)?;
        let public_key = public_key(signed.element(SEQUENCE)?.whole)?;
        signed.optional(context(1));
        signed.optional(context(2));
        let extensions = signed.optional(context(3) | CONSTRUCTED);
        Some(Self {
            issuer: issuer.whole.to_vec(),
            serial: trim_integer(serial.content).to_vec(),
            subject_key: extensions.and_then(|found| subject_key(found.content)),
            public_key,
        })
    }

    /// The fingerprint of the public key: equal to that of the private key that it belongs to.
    pub fn public_key(&self) -> Fingerprint {
        self.public_key
    }
}

/// The text is its serial number in hexadecimal digits, as openssl shows it.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("serial ")?;
        // Longer ones are not allowed (RFC 5280, section 4.1.2.2).
        self.serial.iter().take(20).try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// The fingerprint of a `SubjectPublicKeyInfo`. An RSA key whose algorithm restricts it to OAEP or PSS
/// has the same fingerprint.
fn public_key(info: &[u8]) -> Option<Fingerprint> {
    /// `rsaEncryption` and its NULL.
    const PLAIN: [u8; 15] = *b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let mut inside = Reader::new(info).inside(SEQUENCE)?;
    let algorithm = oid::Algorithm::read(&mut inside)?;
    let key = inside.element(BIT_STRING)?;
    if ![oid::RSA_ENCRYPTION, oid::RSAES_OAEP, oid::RSASSA_PSS].contains(&algorithm.oid) {
        return Some(Fingerprint::of(info));
    }
    Some(Fingerprint::of(&asn1::sequence(&[&PLAIN, key.whole])))
}

/// The subject key identifier among the extensions.
fn subject_key(extensions: &[u8]) -> Option<Vec<u8>> {
    let mut extensions = Reader::new(extensions).inside(SEQUENCE)?;
    while let Some(mut extension) = extensions.inside(SEQUENCE) {
        if oid::read(&mut extension)? == oid::SUBJECT_KEY_IDENTIFIER {
            extension.optional(0x01);
            let value = extension.element(OCTET_STRING)?;
            return Some(Reader::new(value.content).element(OCTET_STRING)?.content.to_vec());
        }
    }
    None
}
