//! The cipher alone, for those whose layer is verified elsewhere: see [`super::Witness`].

#[cfg(not(target_arch = "wasm32"))]
use ctr::cipher::{KeyIvInit, StreamCipher};

use super::LayerKey;

#[cfg(not(target_arch = "wasm32"))]
type Cipher = ctr::Ctr128BE<aes::Aes256>;
#[cfg(target_arch = "wasm32")]
type Cipher = super::sliced::SlicedCtr;

/// AES-256 in counter mode from the first byte of a layer on. Authenticates nothing.
pub struct Keystream(Cipher);

impl Keystream {
    /// For the layer that `key` opens.
    pub fn new(key: &LayerKey) -> Self {
        Self::from_parts(&key.key, &key.nonce)
    }

    pub(super) fn from_parts(key: &[u8; 32], nonce: &[u8; 16]) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        let (key, nonce) = (key.into(), nonce.into());
        Self(Cipher::new(key, nonce))
    }

    /// Decrypts, or encrypts, the next bytes in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}
