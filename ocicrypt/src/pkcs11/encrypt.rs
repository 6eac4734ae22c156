//! Wrapping for a key in a PKCS#11 token: RSAES-OAEP with its public key, in JSON as Go writes it.
//! The token is not needed for that.

use ::rsa::rand_core::TryCryptoRng;
use serde_json::json;

use super::{EncryptError, PublicKey, RecipientError, RsaPublicKey};
use crate::base64;
use crate::key;
pub use crate::pkcs11::OaepHash as Pkcs11Hash;

impl Pkcs11Hash {
    /// The name in the wrapped key.
    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    fn oaep(self) -> key::OaepHash {
        match self {
            Self::Sha1 => key::OaepHash::Sha1,
            Self::Sha256 => key::OaepHash::Sha256,
        }
    }
}

/// A public key whose private half is in a token.
#[derive(Clone)]
pub(super) struct Pkcs11Recipient {
    key: RsaPublicKey,
    hash: Pkcs11Hash,
}

impl Pkcs11Recipient {
    pub(super) fn new(key: PublicKey, hash: Pkcs11Hash) -> Result<Self, RecipientError> {
        match key {
            PublicKey::Rsa(key) => Ok(Self { key, hash }),
            PublicKey::Ec(key) => Err(RecipientError::OtherKind(key.kind().to_string())),
        }
    }

    pub(super) fn key(&self) -> &RsaPublicKey {
        &self.key
    }
}

/// Encrypts `plain` for all recipients.
pub(super) fn encrypt<R: TryCryptoRng + ?Sized>(
    recipients: &[&Pkcs11Recipient],
    plain: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, EncryptError> {
    let mut wrapped = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        let blob = recipient.key.encrypt_oaep(recipient.hash.oaep(), plain, rng)?;
        let (blob, hash) = (base64::encode(&blob), recipient.hash.name());
        wrapped.push(json!({ "version": 0, "blob": blob, "hash": hash }));
    }
    Ok(json!({ "version": 0, "recipients": wrapped }).to_string().into_bytes())
}
