//! JSON Web Encryption (RFC 7516), as much of it as wraps the keys of layers.
//!
//! Key management (RFC 7518, section 4): `RSA-OAEP`, `RSA-OAEP-256`, `ECDH-ES+A128KW`,
//! `ECDH-ES+A192KW`, `ECDH-ES+A256KW`. Content encryption (section 5): `A128GCM`, `A192GCM`,
//! `A256GCM`, `A128CBC-HS256`, `A192CBC-HS384`, `A256CBC-HS512`. All three serializations.

mod agreement;
mod content;
#[cfg(feature = "encrypt")]
mod encrypt;
mod header;
mod message;
pub(crate) mod work;

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::key::{KeyKind, OaepHash, OaepRefusal, PrivateKey};
use crate::keyring::NamedKey;
use crate::text::printable;

use self::agreement::Agreement;
pub use self::agreement::unwrap_aes_key;
use self::content::Encryption;
#[cfg(feature = "encrypt")]
pub(crate) use self::encrypt::{JweRecipient, encrypt};
use self::header::Header;
use self::message::{Message, RawRecipient};
pub use self::work::{BUDGET, Work};

/// Why a JWE, or one recipient of it, was refused. The texts show names of algorithms from the
/// input at most, cut short, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JweError {
    /// Something is missing or of the wrong form.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A member occurs twice in one object.
    #[error("malformed: the member `{0}` occurs twice")]
    Duplicate(String),
    /// Extensions that must be understood (`crit`, RFC 7516, section 4.1.13).
    #[error("it demands extensions (`crit`), and none is known")]
    Critical,
    /// A key management algorithm that the format does not have.
    #[error("the key management algorithm `{0}` is not one of the format")]
    UnsupportedAlgorithm(String),
    /// A content encryption algorithm that the format does not have.
    #[error("the content encryption `{0}` is not one of the format")]
    UnsupportedEncryption(String),
    /// A compression that the format does not have.
    #[error("the compression `{0}` is not one of the format")]
    UnsupportedCompression(String),
    /// No key of the ring can have been meant.
    #[error("no key of this kind ({0})")]
    NoKeyOfKind(Wanted),
    /// Every key of the right kind was tried, in vain.
    #[error("wrong key")]
    WrongKey,
    /// A key fits, but the content does not match its tag.
    #[error("the key fits, but the content was altered")]
    Altered,
    /// The content is not what its compression promises, or too large.
    #[error("the content cannot be decompressed")]
    Compression,
    /// So many wrapped keys were tried that enough is enough.
    #[error("too much work: gave up after many wrapped keys that no key fits")]
    TooMuchWork,
    /// The generator of random numbers failed.
    #[error("no random numbers for a private-key operation")]
    NoRandomness,
}

/// The kind of key that a recipient needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// RSA with a modulus of as many bytes as the wrapped key has.
    Rsa {
        /// That length in bytes.
        bytes: usize,
    },
    /// An elliptic curve.
    Curve(KeyKind),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { bytes } => write!(f, "RSA-{}", bytes * 8),
            Self::Curve(kind) => kind.fmt(f),
        }
    }
}

/// A parsed JWE, in any serialization.
pub struct Jwe {
    message: Message,
    recipients: Vec<RawRecipient>,
}

/// One recipient, checked as far as that goes without a key.
struct Recipient<'m> {
    wrapping: Wrapping,
    encryption: Encryption,
    encrypted_key: &'m [u8],
}

/// How the content key is wrapped.
enum Wrapping {
    Oaep(OaepHash),
    Agreement(Agreement),
}

impl Jwe {
    /// Parses the compact serialization (RFC 7516, section 7.1) or one of the JSON
    /// serializations (section 7.2). A bad recipient does not spoil the others.
    ///
    /// # Errors
    /// [`JweError::Malformed`], [`JweError::Duplicate`], [`JweError::Critical`],
    /// [`JweError::UnsupportedCompression`].
    pub fn parse(bytes: &[u8]) -> Result<Self, JweError> {
        let (message, recipients) = Message::parse(bytes)?;
        Ok(Self { message, recipients })
    }

    /// The recipients as far as the message tells them: for each the kind of its key and the
    /// algorithm, such as `RSA-2048 (RSA-OAEP)`, or why it is of no use.
    pub fn recipients(&self) -> Vec<String> {
        let shown = self.recipients.iter().map(|recipient| {
            let (header, key) = recipient.as_ref().map_err(JweError::clone)?;
            let recipient = Recipient::new(header, key, &self.message)?;
            Ok(format!("{} ({})", recipient.wanted(), printable(header.alg()?)))
        });
        shown.map(|shown| shown.unwrap_or_else(|error: JweError| error.to_string())).collect()
    }

    /// Decrypts with the first key that fits: every key whose kind fits is tried for every
    /// recipient. `tried` is told about each key that is tried.
    ///
    /// `kid` is not looked at: it is a hint, and often missing or wrong.
    ///
    /// # Errors
    /// Why each recipient failed.
    pub fn decrypt<'k, R: TryCryptoRng + ?Sized>(
        &self,
        keys: impl Iterator<Item = &'k NamedKey> + Clone,
        rng: &mut R,
        work: &mut Work,
        mut tried: impl FnMut(&'k NamedKey),
    ) -> Result<Zeroizing<Vec<u8>>, Vec<JweError>> {
        let mut errors = Vec::new();
        for recipient in &self.recipients {
            let result = recipient.as_ref().map_err(JweError::clone).and_then(|(header, key)| {
                let recipient = Recipient::new(header, key, &self.message)?;
                recipient.decrypt(&self.message, keys.clone(), rng, work, &mut tried)
            });
            match result {
                Ok(plaintext) => return Ok(plaintext),
                Err(error) => errors.push(error),
            }
        }
        Err(errors)
    }
}

impl<'m> Recipient<'m> {
    fn new(header: &Header, encrypted_key: &'m [u8], message: &Message) -> Result<Self, JweError> {
        let encryption = Encryption::named(header.enc()?)?;
        encryption.check(message)?;
        let wrapping = match header.alg()? {
            "RSA-OAEP" => Wrapping::Oaep(OaepHash::Sha1),
            "RSA-OAEP-256" => Wrapping::Oaep(OaepHash::Sha256),
            alg => Wrapping::Agreement(Agreement::new(alg, header)?),
        };
        // After the algorithm: those that the format has not may have none, and are named.
        if encrypted_key.is_empty() {
            return Err(JweError::Malformed("no wrapped key"));
        }
        if matches!(wrapping, Wrapping::Agreement(_))
            && encrypted_key.len() != encryption.key_length() + 8
        {
            return Err(JweError::Malformed("the wrapped key has the wrong length"));
        }
        Ok(Self { wrapping, encryption, encrypted_key })
    }

    fn decrypt<'k, R: TryCryptoRng + ?Sized>(
        &self,
        message: &Message,
        keys: impl Iterator<Item = &'k NamedKey>,
        rng: &mut R,
        work: &mut Work,
        mut tried: impl FnMut(&'k NamedKey),
    ) -> Result<Zeroizing<Vec<u8>>, JweError> {
        let mut keys = keys.filter(|named| self.fits(named.key())).peekable();
        if keys.peek().is_none() {
            return Err(JweError::NoKeyOfKind(self.wanted()));
        }
        let id = work::id(|hash| self.identify(hash));
        if work.is_hopeless(&id) {
            return Err(JweError::WrongKey);
        }
        let mut error = JweError::WrongKey;
        for named in keys {
            work.spend(named.key().kind())?;
            tried(named);
            let content_key = match (&self.wrapping, named.key()) {
                (Wrapping::Oaep(hash), PrivateKey::Rsa(key)) => {
                    match key.decrypt_oaep(*hash, self.encrypted_key, rng) {
                        Ok(content_key) => Some(content_key),
                        Err(OaepRefusal::NoRandomness) => return Err(JweError::NoRandomness),
                        Err(OaepRefusal::WrongKey) => None,
                    }
                }
                (Wrapping::Agreement(agreement), key) => {
                    agreement.unwrap(key, self.encrypted_key)?
                }
                _ => None,
            };
            let Some(content_key) = content_key else { continue };
            if content_key.len() != self.encryption.key_length() {
                error = JweError::Malformed("the unwrapped key has the wrong length");
                continue;
            }
            work.spend_on_content(message.ciphertext.len() + message.aad.len())?;
            match self.encryption.decrypt(&content_key, message) {
                Some(plaintext) => return message.decompress(plaintext),
                None => error = JweError::Altered,
            }
        }
        if error == JweError::WrongKey {
            work.give_up_on(id);
        }
        Err(error)
    }

    /// Whether `key` can have been meant. The length of the wrapped key tells that of the
    /// modulus (RFC 8017, section 7.1.2, step 1), which saves most of the work on other keys.
    fn fits(&self, key: &PrivateKey) -> bool {
        match (&self.wrapping, key) {
            (Wrapping::Oaep(_), PrivateKey::Rsa(key)) => key.size() == self.encrypted_key.len(),
            (Wrapping::Oaep(_), _) => false,
            (Wrapping::Agreement(agreement), key) => agreement.curve() == key.kind(),
        }
    }

    fn wanted(&self) -> Wanted {
        match &self.wrapping {
            Wrapping::Oaep(_) => Wanted::Rsa { bytes: self.encrypted_key.len() },
            Wrapping::Agreement(agreement) => Wanted::Curve(agreement.curve()),
        }
    }

    /// Feeds everything that decides whether a key fits.
    fn identify(&self, mut hash: impl FnMut(&[u8])) {
        match &self.wrapping {
            Wrapping::Oaep(oaep) => hash(oaep.name().as_bytes()),
            Wrapping::Agreement(agreement) => agreement.identify(&mut hash),
        }
        hash(self.encrypted_key);
    }
}
