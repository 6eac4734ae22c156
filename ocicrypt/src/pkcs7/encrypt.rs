//! Writing EnvelopedData (RFC 5652, section 6.1): AES-256-CBC, and key transport with PKCS#1 v1.5.
//!
//! Go writes AES-128-GCM with parameters that no standard has, and only itself reads. AES-256-CBC
//! is the strongest that every Go ocicrypt and openssl read. For RSAES-OAEP the same would hold,
//! were it not that the library of older Go ocicrypt, such as in skopeo 1.9, has PKCS#1 v1.5 only.
//! CBC does not authenticate: the HMAC and the digest of the layer tell who altered the key.

use aes::Aes256;
use aes::cipher::block_padding;
use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use pkcs8::der::Decode;
use pkcs8::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::rand_core::TryCryptoRng;

use super::Certificate;
use super::ber::{
    CONSTRUCTED, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET, context, element,
};
use super::oid::{AES_256_CBC, ENVELOPED_DATA, RSA_ENCRYPTION};
use crate::encrypt::{EncryptError, PublicKey, RecipientError, RsaPublicKey, random};
use crate::key;
use crate::text::printable;

/// What is inside the envelope, for those who only see the outside: `id-data` (RFC 5652,
/// section 4).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");

/// Zero: of EnvelopedData and of recipients by issuer and serial number.
const VERSION: [u8; 3] = [INTEGER, 1, 0];

const NULL: [u8; 2] = [5, 0];

/// A certificate, and the public key in it.
#[derive(Clone)]
pub(crate) struct Pkcs7Recipient {
    certificate: Certificate,
    key: RsaPublicKey,
}

impl Pkcs7Recipient {
    /// Reads the first certificate of `bytes`, the content of a file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RecipientError> {
        if bytes.trim_ascii().is_empty() {
            return Err(RecipientError::Empty);
        }
        if !key::is_pem(bytes) {
            return Self::of_der(bytes);
        }
        let mut other = None;
        for (label, content) in key::blocks(bytes) {
            match label {
                "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                    return Self::of_der(&content.ok_or(RecipientError::Malformed("PEM"))?);
                }
                label => other = other.or(Some(label)),
            }
        }
        Err(RecipientError::NoCertificate(other.map(printable)))
    }

    fn of_der(der: &[u8]) -> Result<Self, RecipientError> {
        let certificate = Certificate::parse(der).ok_or(RecipientError::NoCertificate(None))?;
        let info =
            public_key_info(der).and_then(|info| SubjectPublicKeyInfoRef::from_der(info).ok());
        match PublicKey::of_info(&info.ok_or(RecipientError::Malformed("certificate"))?)? {
            PublicKey::Rsa(key) => Ok(Self { certificate, key }),
            PublicKey::Ec(key) => Err(RecipientError::OtherKind(key.kind().to_string())),
        }
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &RsaPublicKey {
        &self.key
    }

    /// `KeyTransRecipientInfo` (RFC 5652, section 6.2.1).
    fn wrap<R: TryCryptoRng + ?Sized>(
        &self,
        content_key: &[u8; 32],
        rng: &mut R,
    ) -> Result<Vec<u8>, EncryptError> {
        let wrapped = self.key.encrypt_pkcs1v15(content_key, rng)?;
        let serial = element(INTEGER, &[&self.certificate.serial]);
        let issuer_and_serial = element(SEQUENCE, &[&self.certificate.issuer, &serial]);
        let algorithm = element(SEQUENCE, &[&oid(RSA_ENCRYPTION), &NULL]);
        let wrapped = element(OCTET_STRING, &[&wrapped]);
        Ok(element(SEQUENCE, &[&VERSION, &issuer_and_serial, &algorithm, &wrapped]))
    }
}

/// Encrypts `plain` for all recipients: ContentInfo in DER.
pub(crate) fn encrypt<R: TryCryptoRng + ?Sized>(
    recipients: &[&Pkcs7Recipient],
    plain: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, EncryptError> {
    let content_key = random::<32, R>(rng)?;
    let wrapped = recipients.iter().map(|recipient| recipient.wrap(&content_key, rng));
    let mut wrapped = wrapped.collect::<Result<Vec<_>, _>>()?;
    // A SET OF has its elements in order (X.690, section 11.6).
    wrapped.sort();
    let wrapped: Vec<_> = wrapped.iter().map(Vec::as_slice).collect();

    let iv = random::<16, R>(rng)?;
    let cipher = cbc::Encryptor::<Aes256>::new((&*content_key).into(), (&*iv).into());
    // With room for the padding, which fills a block up, or is one.
    let mut text = Vec::with_capacity(plain.len() + 16);
    text.extend_from_slice(plain);
    text.resize(plain.len() + 16, 0);
    let encrypted = cipher.encrypt_padded::<block_padding::Pkcs7>(&mut text, plain.len());
    let encrypted = encrypted.expect("there is room for a block of padding");
    let algorithm = element(SEQUENCE, &[&oid(AES_256_CBC), &element(OCTET_STRING, &[&*iv])]);
    let content = [&oid(DATA), &algorithm, &element(context(0), &[encrypted])];
    let content = element(SEQUENCE, &content.map(Vec::as_slice));

    let enveloped = element(SEQUENCE, &[&VERSION, &element(SET, &wrapped), &content]);
    let enveloped = element(context(0) | CONSTRUCTED, &[&enveloped]);
    Ok(element(SEQUENCE, &[&oid(ENVELOPED_DATA), &enveloped]))
}

fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, &[oid.as_bytes()])
}

/// The `SubjectPublicKeyInfo` of a certificate in DER (RFC 5280, section 4.1).
fn public_key_info(der: &[u8]) -> Option<&[u8]> {
    let mut signed = Reader::new(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
    signed.optional(context(0) | CONSTRUCTED);
    signed.element(INTEGER)?;
    // The algorithm of the signature, issuer, validity and subject.
    for _ in 0..4 {
        signed.element(SEQUENCE)?;
    }
    Some(signed.element(SEQUENCE)?.whole)
}
