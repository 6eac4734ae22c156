//! The record that passes between the steps, and is all that does.

use ocicrypt::layer;

use crate::contract::LayerKey;

/// Checks the record that passes between the steps.
///
/// # Errors
/// An unknown cipher, a member of the wrong length, a malformed digest.
pub fn checked(key: &LayerKey) -> Result<layer::LayerKey, layer::LayerError> {
    let LayerKey { cipher, key, nonce, hmac, digest, length } = key;
    let key = layer::LayerKey::new(cipher, key, nonce, hmac, digest.as_deref())?;
    Ok(key.with_length(*length))
}
