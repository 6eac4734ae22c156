//! The cipher alone, for those whose layer is verified elsewhere: see [`super::Witness`].

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};

use super::LayerKey;

/// AES-256 in counter mode from the first byte of a layer on. Authenticates nothing.
pub struct Keystream(Ctr128BE<Aes256>);

impl Keystream {
    /// For the layer that `key` opens.
    pub fn new(key: &LayerKey) -> Self {
        Self(Ctr128BE::<Aes256>::new((&*key.key).into(), (&*key.nonce).into()))
    }

    /// Decrypts the next bytes in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}
