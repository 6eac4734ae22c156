//! What `--unwrap` does in place of the second step: it writes the layer key to standard output, in
//! ocicrypt's form, for `keycell keyprovider`.
//!
//! Everything before is the same as for a layer: the same guest in the same instance, behind the same
//! walls, with the same keys and the same broker. No layer is read, and no private key gets here: the
//! instance that saw them has been dropped, and this gets what the accounting of a layer gets.

use std::io::{self, Write as _};

use base64ct::{Base64, Encoding as _};
use keycell_core::Fault;
use keycell_diagnostic::hint::{DecoderHint, Hint, KeyproviderHint};
use ocicrypt::layer::LayerKey;
use zeroize::Zeroizing;

use crate::input::candidates::Candidate;
use crate::report::failure::{Ending, ends_a_run};
use crate::sandbox::standard_streams::Stdout;

use super::shared::Run;
use super::trap::GuestFailure;

/// Why no layer key is written.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// containerd would take the key for a layer, and unpack it.
    #[error("`--unwrap` is among the arguments of a stream processor, which has to write a layer")]
    StreamProcessor,
    /// The content store is not searched for a layer that nobody passes.
    #[error("`--unwrap` is given without a payload on descriptor 3")]
    NoPayload,
    /// It has no step that returns a key.
    #[error("`--unwrap` is given, and the guest is a WASI command, which returns no layer key")]
    CommandGuest,
    /// Standard output cannot be written.
    #[error("cannot write the layer key: {}", keycell_diagnostic::os_error(.0))]
    Output(io::Error),
}

impl HandOverError {
    fn hint(&self) -> Hint {
        match self {
            Self::StreamProcessor => KeyproviderHint::RemoveUnwrap.into(),
            Self::NoPayload => KeyproviderHint::UnwrapByKeyprovider.into(),
            Self::CommandGuest => KeyproviderHint::UnwrapWithComponent.into(),
            Self::Output(_) => DecoderHint::StandardOutput.into(),
        }
    }
}

ends_a_run!(HandOverError);

/// Checks that a key provider asks, not containerd, which sets the media type for each layer.
///
/// # Errors
/// containerd asks, or there is no payload.
pub fn check(payload: &[u8]) -> Result<(), Ending> {
    if std::env::var_os("STREAM_PROCESSOR_MEDIATYPE").is_some() {
        return Err(HandOverError::StreamProcessor.into());
    }
    if payload.is_empty() {
        return Err(HandOverError::NoPayload.into());
    }
    Ok(())
}

/// Writes the one key of a payload.
///
/// # Errors
/// Standard output cannot be written, or nobody reads it.
pub fn run(run: &Run<'_>, candidates: Vec<Candidate>) -> Result<(), Ending> {
    let Ok([candidate]) = <[Candidate; 1]>::try_from(candidates) else {
        let several = io::Error::other("it returned several layer keys for a payload");
        return Err(GuestFailure::Host(several.into()).into());
    };
    run.log.layer().opened(&candidate.opened, candidate.warning);
    let json = private_options(&candidate.key);
    Stdout.write_all(&json).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Fault::Output(error).into(),
        _ => HandOverError::Output(error).into(),
    })
}

/// The private options of a layer as Go ocicrypt writes them. Its digest is empty if the wrapped key has
/// none.
fn private_options(key: &LayerKey) -> Zeroizing<Vec<u8>> {
    let symkey = Zeroizing::new(Base64::encode_string(key.key()));
    let nonce = Zeroizing::new(Base64::encode_string(key.nonce()));
    let digest = key.digest().unwrap_or_default();
    let parts = [
        r#"{"symkey":""#,
        &symkey,
        r#"","digest":""#,
        &digest,
        r#"","cipheroptions":{"nonce":""#,
        &nonce,
        r#""}}"#,
    ];
    // A growing vector would leave copies of the key behind.
    let mut json = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| json.extend_from_slice(part.as_bytes()));
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_has_the_form_of_go() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let key =
            LayerKey::new("AES_256_CTR_HMAC_SHA256", &[1; 32], &[2; 16], &[0; 32], Some(&digest));
        let json = private_options(&key.expect("a key"));
        let symkey = Base64::encode_string(&[1; 32]);
        let nonce = Base64::encode_string(&[2; 16]);
        let wanted = format!(
            r#"{{"symkey":"{symkey}","digest":"{digest}","cipheroptions":{{"nonce":"{nonce}"}}}}"#
        );
        assert_eq!(String::from_utf8_lossy(&json), wanted);
    }
}
