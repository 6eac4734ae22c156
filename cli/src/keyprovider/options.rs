//! The private options of a layer, checked before they go anywhere.

use base64ct::{Base64, Encoding as _};
use ocicrypt::layer::{AES_256_CTR_HMAC_SHA256, LayerKey};
use ocicrypt::options::{OptionsError, PrivateOptions, PublicOptions, layer_key};

/// Public options for the key of a layer that is not here: the protocol carries none, and neither the
/// cipher nor the HMAC changes what is wrapped.
pub fn made_up_public() -> String {
    let hmac = Base64::encode_string(&[0; 32]);
    format!(r#"{{"cipher":"{AES_256_CTR_HMAC_SHA256}","hmac":"{hmac}","cipheroptions":{{}}}}"#)
}

/// The key that private options contain.
///
/// # Errors
/// They are not those of a layer.
pub fn key_of(options: &[u8]) -> Result<LayerKey, OptionsError> {
    let public = PublicOptions::parse(made_up_public().as_bytes())?;
    layer_key(&PrivateOptions::parse(options)?, &public)
}
