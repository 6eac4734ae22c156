//! The names of keys: their kinds, and the fingerprints of their public keys.

use std::fmt;

use base64ct::{Base64Unpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

/// The kind of a key; its text is, for example, `RSA-2048` or `P-256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA.
    Rsa {
        /// The length of the modulus in bits.
        bits: u32,
    },
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
        }
    }
}

/// The SHA-256 of a public key in DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1). Its text is
/// `SHA256:` and 43 characters of base64 without padding, as computed by `openssl pkey -pubout -outform
/// DER | openssl sha256 -binary | base64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of the public key in this `SubjectPublicKeyInfo`.
    pub(crate) fn of(info: &[u8]) -> Self {
        Self(Sha256::digest(info).into())
    }
}

impl Fingerprint {
    /// Whether `text` is the text of this fingerprint.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        // The comparison does not format the fingerprint, because it is made for every key of a ring.
        let encoded = text.strip_prefix("SHA256:");
        let mut bytes = [0; 32];
        encoded.is_some_and(|encoded| {
            Base64Unpadded::decode(encoded, &mut bytes).is_ok_and(|decoded| decoded == self.0)
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0))
    }
}
