//! Wraps for a key in a PKCS#11 token: RSAES-OAEP with its public key, in JSON as Go writes it. This
//! does not need the token.

use ::rsa::rand_core::TryCryptoRng;
use serde_json::json;

use super::OaepHash;
use crate::encoding::base64;
use crate::keys::public::{PublicKey, RsaPublicKey};
use crate::keys::{PublicKeyError, WrapError};

impl OaepHash {
    /// The name in the wrapped key.
    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// A public key whose private key is in a token.
#[derive(Clone)]
pub(crate) struct Pkcs11Recipient {
    key: RsaPublicKey,
    hash: OaepHash,
}

impl Pkcs11Recipient {
    pub(crate) fn new(key: PublicKey, hash: OaepHash) -> Result<Self, PublicKeyError> {
        match key {
            PublicKey::Rsa(key) => Ok(Self { key, hash }),
            PublicKey::Ec(key) => Err(PublicKeyError::OtherKind(key.kind().to_string())),
        }
    }

    pub(crate) fn key(&self) -> &RsaPublicKey {
        &self.key
    }

    pub(crate) fn hash(&self) -> OaepHash {
        self.hash
    }
}

/// Encrypts `plain` for all recipients.
pub(crate) fn encrypt<R: TryCryptoRng + ?Sized>(
    recipients: &[&Pkcs11Recipient],
    plain: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, WrapError> {
    let mut wrapped = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        let blob = recipient.key.encrypt_oaep(recipient.hash.into(), plain, rng)?;
        let (blob, hash) = (base64::encode(&blob), recipient.hash.name());
        wrapped.push(json!({ "version": 0, "blob": blob, "hash": hash }));
    }
    Ok(json!({ "version": 0, "recipients": wrapped }).to_string().into_bytes())
}
