//! The layer key: as a guest returns it, and as a guest gets it that decrypts by itself.

use ocicrypt::layer;

use crate::contract::{CipherKey, LayerKey};

/// Checks the layer key that `unwrap` returned.
///
/// # Errors
/// An unknown cipher, a member of the wrong length, a malformed digest.
pub fn check(key: &LayerKey) -> Result<layer::LayerKey, layer::LayerError> {
    let LayerKey { cipher, key, nonce, hmac, digest, length } = key;
    let key = layer::LayerKey::new(cipher, key, nonce, hmac, digest.as_deref())?;
    Ok(key.with_length(*length))
}

/// The part of the key that a guest gets that decrypts by itself: neither HMAC nor digest.
pub fn cipher_key(key: &layer::LayerKey) -> CipherKey {
    CipherKey {
        cipher: layer::AES_256_CTR_HMAC_SHA256.to_owned(),
        key: key.key().to_vec(),
        nonce: key.nonce().to_vec(),
    }
}
