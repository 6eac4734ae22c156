//! The two steps, independent of the caller.

use std::io::{self, Read, Write};

use getrandom::SysRng;
use keycell_diagnostic::hint::UnwrapHint;
use ocicrypt::algorithms::MinAlgorithms;
use ocicrypt::bounds::Bounds;
use ocicrypt::broker::Broker;
use ocicrypt::keyring::{KeyRing, SkipReason, Skipped};
use ocicrypt::keys::NotAKey;
use ocicrypt::layer::{LayerKey, PlainReader};
use ocicrypt::payload::Payload;
use ocicrypt::pgp::KeyFileError;
use ocicrypt::unwrap::{self, Opened};

use crate::failure::Failure;

/// What `unwrap` finds.
pub struct Unwrapped {
    /// The key of the layer, and what opened it.
    pub opened: Opened,
    /// The digest of the layer, as the payload has it.
    pub layer: Option<String>,
    /// The stored manifests that gave the key: their indices in the request. Empty for a payload.
    pub manifests: Vec<u32>,
}

/// Finds the key of the layer: with the keys in `ring`, then with those in the payload itself, and
/// with those that only `broker` reaches.
///
/// `media_type` is what containerd passes for the layer; it is used where the payload has none.
///
/// # Errors
/// Why no key opens the layer, with all that was found on the way.
pub fn unwrap(
    payload: &[u8],
    media_type: Option<&str>,
    mut ring: KeyRing,
    algorithms: MinAlgorithms,
    broker: &mut dyn Broker,
) -> Result<Unwrapped, Failure> {
    let mut payload = Payload::parse(payload)?;
    if payload.descriptor.media_type.is_empty() {
        payload.descriptor.media_type = media_type.unwrap_or_default().to_owned();
    }
    ring.add_parameters(&payload.parameters);
    let logged = log_skipped(&ring, 0);
    let layer = Some(payload.descriptor.digest.clone()).filter(|digest| !digest.is_empty());
    let mut bounds = Bounds { algorithms, ..Bounds::default() };
    let opened = unwrap::unwrap_within(&payload, &ring, broker, &mut bounds, &mut SysRng);
    log_skipped(&ring, logged);
    match opened {
        Ok(opened) => Ok(Unwrapped { opened, layer, manifests: Vec::new() }),
        Err(error) => Err(Failure { layer, ..Failure::no_key(&error, &ring) }),
    }
}

/// Writes a line to standard error, which the host logs, for each file that was passed over, on
/// success too. The first `logged` have one already; returns how many have one now.
pub fn log_skipped(ring: &KeyRing, logged: usize) -> usize {
    let skipped = ring.skipped_so_far();
    // A public key beside its private key is usual, and no reason for a note with every layer.
    let is_usual = |file: &&Skipped| match file.reason {
        SkipReason::NotAKey(NotAKey::PublicKey) => ring.candidates() > 0,
        SkipReason::OpenPgp(KeyFileError::PublicKey) => ring.pgp_keys().next().is_some(),
        _ => false,
    };
    for file in skipped.iter().skip(logged).filter(|file| !is_usual(file)) {
        // Where a module is allowed, the host hands these files to the broker instead.
        let and = match file.reason {
            SkipReason::NotAKey(NotAKey::Pkcs11) => {
                ", and no PKCS#11 module is allowed (`OCICRYPT_CONFIG`)"
            }
            _ => "",
        };
        eprintln!("passed over {file}{and}");
    }
    skipped.len()
}

/// Decrypts `source` into `sink` here, without the host's cipher. The last 64 KiB are written
/// only after HMAC and digest have verified.
///
/// # Errors
/// A layer that is not genuine, or a stream that fails.
pub fn decrypt(key: &LayerKey, source: impl Read, mut sink: impl Write) -> Result<(), Failure> {
    let mut plain = PlainReader::new(source, key);
    while let Some(chunk) = plain.next_chunk()? {
        sink.write_all(&chunk).map_err(unwritable)?;
    }
    sink.flush().map_err(unwritable)
}

/// The plain layer cannot be written.
pub fn unwritable(error: io::Error) -> Failure {
    Failure::new(format!("cannot write the plain layer: {error}"), UnwrapHint::SinkFailed)
}
