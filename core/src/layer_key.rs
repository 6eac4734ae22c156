//! The layer key in the form in which a guest returns it, and in which a guest that decrypts the layer
//! itself gets it.

use ocicrypt::layer;

use crate::contract::{CipherKey, LayerKey};

/// Checks the layer key that `unwrap` returned.
///
/// # Errors
/// The cipher is unknown, a member has the wrong length, or the digest is malformed.
pub fn check(key: &LayerKey) -> Result<layer::LayerKey, layer::LayerError> {
    let LayerKey { cipher, key, nonce, hmac, digest, length } = key;
    let key = layer::LayerKey::new(cipher, key, nonce, hmac, digest.as_deref())?;
    Ok(key.with_length(*length))
}

/// The part of the key for a guest that decrypts the layer itself: without HMAC and digest.
pub fn cipher_key(key: &layer::LayerKey) -> CipherKey {
    CipherKey {
        cipher: layer::AES_256_CTR_HMAC_SHA256.to_owned(),
        key: key.key().to_vec(),
        nonce: key.nonce().to_vec(),
    }
}
