//! The cipher alone, for those whose layer is verified elsewhere: see [`super::Witness`].

use super::LayerKey;
use super::counter::CounterMode;
#[cfg(not(target_arch = "wasm32"))]
use super::library::Library as Aes256;
#[cfg(target_arch = "wasm32")]
use super::sliced::Sliced as Aes256;

/// AES-256 in counter mode from the first byte of a layer on. Authenticates nothing.
pub struct Keystream(CounterMode<Aes256>);

impl Keystream {
    /// For the layer that `key` opens.
    pub fn new(key: &LayerKey) -> Self {
        Self::from_parts(&key.key, &key.nonce)
    }

    pub(super) fn from_parts(key: &[u8; 32], nonce: &[u8; 16]) -> Self {
        Self(CounterMode::new(key, nonce))
    }

    /// Decrypts, or encrypts, the next bytes in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}
