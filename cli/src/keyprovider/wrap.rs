//! Wrapping: a JWE for the public keys that the parameters hold.

use base64ct::{Base64, Encoding as _};
use getrandom::SysRng;
use ocicrypt::encrypt::{self, Recipient};
use ocicrypt::layer::LayerKey;
use std::collections::BTreeMap;

use super::Files;
use super::error::{KeyproviderError, Others};
use super::options;

/// The name of the provider, which is in the annotation and in the recipients that name it.
pub const NAME: &str = "keycell";

/// What ocicrypt passes where a recipient has no parameter.
const NO_PARAMETER: &[u8] = b"Enabled";

const JWE: &str = "org.opencontainers.image.enc.keys.jwe";

/// A wrapped key: the bytes of a JWE.
pub type Wrapped = Vec<u8>;

/// Wraps private options for the parameters of a request.
///
/// # Errors
/// They are not those of a layer, or there is no public key.
pub fn answer(
    private_options: &[u8],
    parameters: &BTreeMap<String, Vec<Vec<u8>>>,
    files: Files,
) -> Result<Wrapped, KeyproviderError> {
    let key = options::key_of(private_options).map_err(KeyproviderError::Options)?;
    let ours = parameters.get(NAME).map_or(&[][..], Vec::as_slice);
    let ours: Vec<_> = ours.iter().filter(|value| *value != NO_PARAMETER).collect();
    if ours.is_empty() {
        let others = parameters.keys().filter(|name| *name != NAME).take(4);
        let others = others.map(|name| name.escape_debug().take(64).collect()).collect();
        return Err(KeyproviderError::NoParameter { others: Others(others) });
    }
    let recipients = ours.iter().enumerate();
    let recipients = recipients.map(|(index, value)| recipient(value, index + 1, files));
    wrap(&key, &recipients.collect::<Result<Vec<_>, _>>()?)
}

/// Wraps the key of a layer.
///
/// # Errors
/// Of a key that is too short, or of the system's random numbers.
pub fn wrap(key: &LayerKey, recipients: &[Recipient]) -> Result<Wrapped, KeyproviderError> {
    let annotations = encrypt::annotations(key, recipients, &mut SysRng)?;
    let jwe = annotations.get(JWE).and_then(|text| Base64::decode_vec(text).ok());
    jwe.ok_or(KeyproviderError::Broken)
}

/// The recipient that a parameter describes: a public key, its base64, or a file with one.
///
/// # Errors
/// It is none of them.
pub fn recipient(value: &[u8], number: usize, files: Files) -> Result<Recipient, KeyproviderError> {
    let as_it_is = match Recipient::jwe(value) {
        Ok(recipient) => return Ok(recipient),
        Err(why) => why,
    };
    let text = std::str::from_utf8(value).map(str::trim).unwrap_or_default();
    if let Ok(decoded) = Base64::decode_vec(text)
        && let Ok(recipient) = Recipient::jwe(&decoded)
    {
        return Ok(recipient);
    }
    if value.contains(&b'\n') || text.is_empty() {
        return Err(KeyproviderError::NoPublicKey { number, why: as_it_is });
    }
    if files == Files::Refuse {
        return Err(KeyproviderError::FileRefused { number });
    }
    let shown = || text.escape_debug().take(256).collect();
    let bytes = std::fs::read(text)
        .map_err(|error| KeyproviderError::PublicKeyFile { name: shown(), error })?;
    Recipient::jwe(&bytes).map_err(|why| KeyproviderError::NoPublicKey { number, why })
}
