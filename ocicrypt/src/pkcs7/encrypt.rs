//! Writes messages in two forms: the one that Go writes, and the standard's own.
//!
//! Every version of Go ctd-decoder reads the first form, and no other program except Keycell does. Go
//! ctd-decoder does not read AuthEnvelopedData (RFC 5083), which openssl reads. Both forms are
//! authenticated. CBC is a form that both programs read, but an alteration of it would not be detected.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce};
use pkcs8::der::Decode;
use pkcs8::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::Certificate;
use super::recipient::Name;
use super::validity::{Validity, allows_encryption};
use crate::crypto::rng::random;
use crate::encoding::asn1::{
    CONSTRUCTED, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET, context, element,
};
use crate::encoding::oid::{
    AES_128_GCM, AES_256_GCM, AUTH_ENVELOPED_DATA, ENVELOPED_DATA, MGF1, RSA_ENCRYPTION,
    RSAES_OAEP, SHA256,
};
use crate::encoding::pem;
use crate::encoding::text::printable;
use crate::keys::public::{PublicKey, RsaPublicKey};
use crate::keys::{OaepHash, PublicKeyError, WrapError};

/// The declared type of the content: `id-data` (RFC 5652, section 4).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");

/// The version zero, of EnvelopedData, AuthEnvelopedData, and recipients by issuer and serial number.
const VERSION: [u8; 3] = [INTEGER, 1, 0];

const NULL: [u8; 2] = [5, 0];

/// The length of the tag of GCM in bytes, as an INTEGER.
const TAG_LENGTH: [u8; 3] = [INTEGER, 1, 16];

/// The form of a CMS message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pkcs7Form {
    /// The form of Go ocicrypt: AES-128-GCM in EnvelopedData, with non-standard parameters, and
    /// RSAES-PKCS1-v1_5.
    #[default]
    Go,
    /// AuthEnvelopedData (RFC 5083) with AES-256-GCM (RFC 5084) and RSAES-OAEP with SHA-256 (RFC 4056).
    /// Go ocicrypt does not read it.
    AuthEnveloped,
}

/// A certificate, and the public key in it.
#[derive(Clone)]
pub(crate) struct Pkcs7Recipient {
    certificate: Certificate,
    key: RsaPublicKey,
    form: Pkcs7Form,
    validity: Option<Validity>,
    allows_encryption: bool,
}

impl Pkcs7Recipient {
    /// Reads the first certificate of `bytes`, the content of a file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        if bytes.trim_ascii().is_empty() {
            return Err(PublicKeyError::Empty);
        }
        if !pem::is_pem(bytes) {
            return Self::of_der(bytes);
        }
        let mut other = None;
        for (label, content) in pem::blocks(bytes) {
            match label {
                "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                    return Self::of_der(&content.ok_or(PublicKeyError::Malformed("PEM"))?.content);
                }
                label => other = other.or(Some(label)),
            }
        }
        Err(PublicKeyError::NoCertificate(other.map(printable)))
    }

    fn of_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        let certificate = Certificate::parse(der).ok_or(PublicKeyError::NoCertificate(None))?;
        let info =
            public_key_info(der).and_then(|info| SubjectPublicKeyInfoRef::from_der(info).ok());
        match PublicKey::of_info(&info.ok_or(PublicKeyError::Malformed("certificate"))?)? {
            PublicKey::Rsa(key) => Ok(Self {
                certificate,
                key,
                form: Pkcs7Form::default(),
                validity: Validity::of(der),
                allows_encryption: allows_encryption(der),
            }),
            PublicKey::Ec(key) => Err(PublicKeyError::OtherKind(key.kind().to_string())),
        }
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &RsaPublicKey {
        &self.key
    }

    /// Whether the name is one of the certificate's.
    pub(crate) fn is_named(&self, name: &Name) -> bool {
        Name::all_of(&self.certificate).any(|own| own == *name)
    }

    /// None if the certificate states it in another form than that of the standard.
    pub(crate) fn validity(&self) -> Option<Validity> {
        self.validity.clone()
    }

    pub(crate) fn allows_encryption(&self) -> bool {
        self.allows_encryption
    }

    /// The same recipient for a message of another form.
    pub(crate) fn with_form(self, form: Pkcs7Form) -> Self {
        Self { form, ..self }
    }

    pub(crate) fn form(&self) -> Pkcs7Form {
        self.form
    }

    /// `KeyTransRecipientInfo` (RFC 5652, section 6.2.1).
    fn wrap<R: TryCryptoRng + ?Sized>(
        &self,
        content_key: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>, WrapError> {
        let (algorithm, wrapped) = match self.form {
            // Go omits the NULL of the standard.
            Pkcs7Form::Go => (
                element(SEQUENCE, &[&oid(RSA_ENCRYPTION)]),
                self.key.encrypt_pkcs1v15(content_key, rng)?,
            ),
            Pkcs7Form::AuthEnveloped => (
                element(SEQUENCE, &[&oid(RSAES_OAEP), &oaep_with_sha256()]),
                self.key.encrypt_oaep(OaepHash::Sha256, content_key, rng)?,
            ),
        };
        let serial = element(INTEGER, &[&self.certificate.serial]);
        let issuer_and_serial = element(SEQUENCE, &[&self.certificate.issuer, &serial]);
        let wrapped = element(OCTET_STRING, &[&wrapped]);
        Ok(element(SEQUENCE, &[&VERSION, &issuer_and_serial, &algorithm, &wrapped]))
    }
}

/// Encrypts `plain` for all recipients, which must have the form `form`. Returns a ContentInfo in DER.
pub(crate) fn encrypt<R: TryCryptoRng + ?Sized>(
    form: Pkcs7Form,
    recipients: &[&Pkcs7Recipient],
    plain: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, WrapError> {
    let content_key = random::<32, R>(rng)?;
    let content_key = match form {
        Pkcs7Form::Go => &content_key[..16],
        Pkcs7Form::AuthEnveloped => &content_key[..],
    };
    let wrapped = recipients.iter().map(|recipient| recipient.wrap(content_key, rng));
    let mut wrapped = wrapped.collect::<Result<Vec<_>, _>>()?;
    // The elements of a SET OF are sorted (X.690, section 11.6).
    wrapped.sort();
    let wrapped: Vec<_> = wrapped.iter().map(Vec::as_slice).collect();
    let recipients = element(SET, &wrapped);

    let nonce = random::<12, R>(rng)?;
    let (content_type, parts) = match form {
        Pkcs7Form::Go => {
            let (text, tag) = seal::<Aes128Gcm>(content_key, &nonce, plain);
            // The parameters are in a SEQUENCE whose tag lacks the bit for elements.
            let nonce = element(context(4), &[&*nonce]);
            let parameters = element(SEQUENCE, &[&nonce, &TAG_LENGTH]);
            let parameters = element(SEQUENCE & !CONSTRUCTED, &[&parameters]);
            let content = content(AES_128_GCM, &parameters, &[&text, &tag]);
            (ENVELOPED_DATA, vec![content])
        }
        Pkcs7Form::AuthEnveloped => {
            let (text, tag) = seal::<Aes256Gcm>(content_key, &nonce, plain);
            let nonce = element(OCTET_STRING, &[&*nonce]);
            let parameters = element(SEQUENCE, &[&nonce, &TAG_LENGTH]);
            let content = content(AES_256_GCM, &parameters, &[&text]);
            (AUTH_ENVELOPED_DATA, vec![content, element(OCTET_STRING, &[&tag])])
        }
    };
    let mut all = vec![&VERSION[..], &recipients];
    all.extend(parts.iter().map(Vec::as_slice));
    let data = element(context(0) | CONSTRUCTED, &[&element(SEQUENCE, &all)]);
    Ok(element(SEQUENCE, &[&oid(content_type), &data]))
}

/// `EncryptedContentInfo` (RFC 5652, section 6.1), whose content consists of `parts`.
fn content(cipher: ObjectIdentifier, parameters: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[&oid(cipher), parameters]);
    element(SEQUENCE, &[&oid(DATA), &algorithm, &element(context(0), parts)])
}

/// GCM without associated data: returns the ciphertext and the tag.
fn seal<A: AeadInOut<NonceSize = U12> + KeyInit>(
    key: &[u8],
    nonce: &[u8; 12],
    plain: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let cipher = A::new_from_slice(key).expect("the key was made for this cipher");
    let mut text = Zeroizing::new(plain.to_vec());
    let inout = text.as_mut_slice().into();
    let tag = cipher.encrypt_inout_detached(&Nonce::<U12>::from(*nonce), &[], inout);
    let tag = tag.expect("private options are short");
    (text.to_vec(), tag.to_vec())
}

/// `RSAES-OAEP-params` (RFC 4055, section 4.1) with SHA-256 for both hashes, and no label.
fn oaep_with_sha256() -> Vec<u8> {
    let sha256 = element(SEQUENCE, &[&oid(SHA256), &NULL]);
    let mask = element(SEQUENCE, &[&oid(MGF1), &sha256]);
    let (hash, mask) = (
        element(context(0) | CONSTRUCTED, &[&sha256]),
        element(context(1) | CONSTRUCTED, &[&mask]),
    );
    element(SEQUENCE, &[&hash, &mask])
}

fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, &[oid.as_bytes()])
}

/// The `SubjectPublicKeyInfo` of a certificate in DER (RFC 5280, section 4.1).
fn public_key_info(der: &[u8]) -> Option<&[u8]> {
    let mut signed = Reader::new(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
    signed.optional(context(0) | CONSTRUCTED);
    signed.element(INTEGER)?;
    // These are the algorithm of the signature, the issuer, the validity and the subject.
    for _ in 0..4 {
        signed.element(SEQUENCE)?;
    }
    Some(signed.element(SEQUENCE)?.whole)
}
