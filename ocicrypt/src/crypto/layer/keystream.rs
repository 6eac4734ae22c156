//! The cipher without authentication, for a layer that is verified by other code: see
//! [`super::Witness`].

use zeroize::Zeroizing;

use super::counter::CounterMode;
#[cfg(not(target_arch = "wasm32"))]
use super::library::Library as Aes256;
use super::{AES_256_CTR_HMAC_SHA256, LayerKey, LayerKeyError, exactly};
use crate::encoding::text::printable;
#[cfg(target_arch = "wasm32")]
use ocicrypt_arithmetic::aes::Aes256;

/// AES-256 in counter mode from the first byte of a layer on. It authenticates nothing.
pub struct Keystream(CounterMode<Aes256>);

impl Keystream {
    /// The keystream of the layer that `key` opens.
    pub fn new(key: &LayerKey) -> Self {
        Self::from_parts(&key.key, &key.nonce)
    }

    /// The keystream of a key without the values that authenticate the layer: the name of the cipher,
    /// 32 bytes of key, and 16 bytes of nonce.
    ///
    /// # Errors
    /// [`LayerKeyError::UnknownCipher`], [`LayerKeyError::WrongLength`].
    pub fn of_cipher(cipher: &str, key: &[u8], nonce: &[u8]) -> Result<Self, LayerKeyError> {
        if cipher != AES_256_CTR_HMAC_SHA256 {
            return Err(LayerKeyError::UnknownCipher(printable(cipher)));
        }
        let key = Zeroizing::new(exactly("key", key)?);
        Ok(Self::from_parts(&key, &exactly("nonce", nonce)?))
    }

    pub(super) fn from_parts(key: &[u8; 32], nonce: &[u8; 16]) -> Self {
        Self(CounterMode::new(key, nonce))
    }

    /// Decrypts or encrypts the next bytes in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}
