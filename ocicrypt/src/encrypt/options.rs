//! The private and the public options of a layer, in the form that Go writes.

use zeroize::Zeroizing;

use crate::crypto::layer::{AES_256_CTR_HMAC_SHA256, LayerKey};
use crate::encoding::base64;

/// The private options, which are wrapped for each recipient: the key, the digest and the nonce of the
/// layer, as JSON.
///
/// A key provider gets exactly this to wrap. Its answer makes a
/// [`Recipient::provider`](super::Recipient::provider).
pub fn private_options(key: &LayerKey) -> Zeroizing<Vec<u8>> {
    let symkey = Zeroizing::new(base64::encode(key.secret()));
    let nonce = Zeroizing::new(base64::encode(key.nonce()));
    let digest = key.digest().unwrap_or_default();
    let parts: [&str; 7] = [
        r#"{"symkey":""#,
        &symkey,
        r#"","digest":""#,
        &digest,
        r#"","cipheroptions":{"nonce":""#,
        &nonce,
        r#""}}"#,
    ];
    // The capacity is computed first, because a growing vector leaves its old copy behind.
    let mut json = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| json.extend_from_slice(part.as_bytes()));
    json
}

/// The public options for the annotation: the cipher and the HMAC of the layer, as JSON.
pub(super) fn public_options(key: &LayerKey) -> Vec<u8> {
    let hmac = base64::encode(key.hmac());
    format!(r#"{{"cipher":"{AES_256_CTR_HMAC_SHA256}","hmac":"{hmac}","cipheroptions":{{}}}}"#)
        .into_bytes()
}
