//! Recipients (RFC 5652, section 6.2). Only those with key transport are supported.

use std::fmt;

use super::Pkcs7Error;
use crate::algorithms::Algorithm;
use crate::crypto::identity;
use crate::encoding::asn1::{
    CONSTRUCTED, Element, INTEGER, OCTET_STRING, Reader, SEQUENCE, context, trim_integer,
};
use crate::encoding::oid::{self, Algorithm as Identifier};
use crate::keys::Certificate;
use crate::keys::OaepHash;

/// A recipient with key transport.
pub(super) struct Recipient {
    pub(super) name: Name,
    pub(super) transport: Transport,
    pub(super) encrypted_key: Vec<u8>,
}

/// The reference to the certificate of a recipient.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// The issuer in its encoded form, and the serial number.
    Issuer(Vec<u8>, Vec<u8>),
    /// The subject key identifier.
    SubjectKey(Vec<u8>),
}

/// How the content key is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// RSAES-PKCS1-v1_5.
    Pkcs1v15,
    /// RSAES-OAEP, with an empty label.
    Oaep { hash: OaepHash, mask: OaepHash },
}

/// The text has the form of `openssl x509 -serial`, truncated.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self {
            Self::Issuer(_, serial) => ("serial", serial),
            Self::SubjectKey(identifier) => ("key identifier", identifier),
        };
        write!(f, "{what} ")?;
        bytes.iter().take(20).try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl Recipient {
    /// Reads a `RecipientInfo`.
    pub(super) fn parse(info: &Element<'_>) -> Result<Self, Pkcs7Error> {
        const AGREEMENT: u8 = context(1) | CONSTRUCTED;
        const KEY_ENCRYPTION_KEY: u8 = context(2) | CONSTRUCTED;
        const PASSWORD: u8 = context(3) | CONSTRUCTED;
        match info.tag {
            SEQUENCE => {}
            AGREEMENT => return Err(Pkcs7Error::UnsupportedRecipient("key agreement")),
            KEY_ENCRYPTION_KEY => return Err(Pkcs7Error::UnsupportedRecipient("symmetric key")),
            PASSWORD => return Err(Pkcs7Error::UnsupportedRecipient("password")),
            _ => return Err(Pkcs7Error::UnsupportedRecipient("something else")),
        }
        let malformed = Pkcs7Error::Malformed("a recipient");
        let mut info = Reader::new(info.content);
        info.element(INTEGER).ok_or(malformed.clone())?;
        let name = info.any().and_then(|found| Name::read(&found)).ok_or(malformed.clone())?;
        let algorithm = Identifier::read(&mut info).ok_or(malformed.clone())?;
        let transport = Transport::of(&algorithm)?;
        let key = info.any().filter(|key| key.tag & !CONSTRUCTED == OCTET_STRING);
        let encrypted_key = key.and_then(|key| key.octets()).ok_or(malformed)?;
        Ok(Self { name, transport, encrypted_key })
    }

    /// The size of the RSA key, and the name of the certificate.
    pub(super) fn describe(&self) -> String {
        format!("RSA-{} (certificate {})", self.encrypted_key.len() * 8, self.name)
    }

    /// The identity of an attempt: everything that decides its result.
    pub(super) fn identify(&self, key: usize, length: usize) -> [u8; 32] {
        identity::id(|hash| {
            hash(&key.to_be_bytes());
            hash(&length.to_be_bytes());
            match self.transport {
                Transport::Pkcs1v15 => {}
                Transport::Oaep { hash: label, mask } => {
                    hash(label.name().as_bytes());
                    hash(mask.name().as_bytes());
                }
            }
            hash(&self.encrypted_key);
        })
    }
}

impl Name {
    fn read(found: &Element<'_>) -> Option<Self> {
        if found.tag & !CONSTRUCTED == context(0) {
            return found.octets().map(Self::SubjectKey);
        }
        let mut inside = Reader::new(found.content);
        let issuer = inside.element(SEQUENCE)?.whole.to_vec();
        let serial = trim_integer(inside.element(INTEGER)?.content).to_vec();
        (found.tag == SEQUENCE).then_some(Self::Issuer(issuer, serial))
    }

    /// All names of a certificate.
    pub(super) fn all_of(certificate: &Certificate) -> impl Iterator<Item = Self> {
        let issuer = Self::Issuer(certificate.issuer.clone(), certificate.serial.clone());
        let subject_key = certificate.subject_key.clone().map(Self::SubjectKey);
        [issuer].into_iter().chain(subject_key)
    }
}

impl Transport {
    /// Its name, and whether it is legacy.
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Pkcs1v15 => Algorithm::PKCS1_V1_5,
            // The weaker of the two hashes decides.
            Self::Oaep { mask: OaepHash::Sha1, .. } => Algorithm::oaep(OaepHash::Sha1),
            Self::Oaep { hash, .. } => Algorithm::oaep(hash),
        }
    }

    fn of(algorithm: &Identifier<'_>) -> Result<Self, Pkcs7Error> {
        match algorithm.oid {
            oid::RSA_ENCRYPTION => Ok(Self::Pkcs1v15),
            oid::RSAES_OAEP => oaep(algorithm),
            _ => Err(Pkcs7Error::UnsupportedTransport(algorithm.shown())),
        }
    }
}

/// `RSAES-OAEP-params` (RFC 4055, section 4.1). The defaults are SHA-1 and no label.
fn oaep(algorithm: &Identifier<'_>) -> Result<Transport, Pkcs7Error> {
    let malformed = Pkcs7Error::Malformed("the parameters of OAEP");
    let (mut hash, mut mask) = (OaepHash::Sha1, OaepHash::Sha1);
    let Some(parameters) = algorithm.parameters else {
        return Ok(Transport::Oaep { hash, mask });
    };
    if parameters.tag != SEQUENCE {
        return Err(malformed);
    }
    let mut parameters = Reader::new(parameters.content);
    if let Some(mut found) = parameters.optional(context(0) | CONSTRUCTED).map(inside) {
        hash = hash_of(&Identifier::read(&mut found).ok_or(malformed.clone())?)?;
    }
    if let Some(mut found) = parameters.optional(context(1) | CONSTRUCTED).map(inside) {
        let function = Identifier::read(&mut found).ok_or(malformed.clone())?;
        if function.oid != oid::MGF1 {
            return Err(Pkcs7Error::UnsupportedHash(function.shown()));
        }
        let mut of = Reader::new(function.parameters.ok_or(malformed.clone())?.whole);
        mask = hash_of(&Identifier::read(&mut of).ok_or(malformed.clone())?)?;
    }
    if let Some(mut found) = parameters.optional(context(2) | CONSTRUCTED).map(inside) {
        let source = Identifier::read(&mut found).ok_or(malformed.clone())?;
        let label = source.parameters.filter(|label| label.tag == OCTET_STRING);
        let label = label.ok_or(malformed.clone())?;
        if source.oid != oid::P_SPECIFIED || !label.content.is_empty() {
            return Err(Pkcs7Error::Label);
        }
    }
    if !parameters.is_empty() {
        return Err(malformed);
    }
    Ok(Transport::Oaep { hash, mask })
}

fn inside<'a>(element: Element<'a>) -> Reader<'a> {
    Reader::new(element.content)
}

fn hash_of(algorithm: &Identifier<'_>) -> Result<OaepHash, Pkcs7Error> {
    match algorithm.oid {
        oid::SHA1 => Ok(OaepHash::Sha1),
        oid::SHA224 => Ok(OaepHash::Sha224),
        oid::SHA256 => Ok(OaepHash::Sha256),
        oid::SHA384 => Ok(OaepHash::Sha384),
        oid::SHA512 => Ok(OaepHash::Sha512),
        _ => Err(Pkcs7Error::UnsupportedHash(algorithm.shown())),
    }
}
