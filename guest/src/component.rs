//! The component that `ctd-decoder` embeds: `wit/decoder.wit`, and the host's cipher.

use std::io::{self, Write};
use std::path::Path;

use keycell_diagnostic::hint::UnwrapHint;
use ocicrypt::algorithms::{Algorithm, MinAlgorithms};
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::{self, Keystream};
use ocicrypt::unwrap;
use zeroize::Zeroize;

use crate::bindings::exports::keycell::decoder::{decrypting, unwrapping};
use crate::bindings::keycell::decoder::cipher::{self, Refusal};
use crate::bindings::keycell::decoder::types::{
    self, CipherKey, Failure, LayerKey, Opened, Origin, Request, Unwrapped,
};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

use crate::broker_imports::Host;
use crate::stored::Stored;
use crate::{failure, keys, steps};

/// How much a splice moves at most: what the host releases at a time.
const SPLICE: u64 = layer::CHUNK as u64;

/// The most that WASI writes with one call (`blocking-write-and-flush`), in bytes.
const AT_ONCE: usize = 4096;

struct Decoder;

impl unwrapping::Guest for Decoder {
    fn unwrap(mut request: Request) -> Result<Vec<Unwrapped>, Failure> {
        let mut ring = KeyRing::new();
        for file in &mut request.key_files {
            ring.add_file(&file.name, &file.content);
            file.content.zeroize();
        }
        keys::add_directory(&mut ring, Path::new("/keys"));
        let media_type = request.media_type.as_deref();
        let mut host = Host::default();
        let algorithms = match request.algorithms {
            types::Algorithms::Legacy => MinAlgorithms::Legacy,
            types::Algorithms::Modern => MinAlgorithms::Modern,
        };
        let found = match &mut request.origin {
            Origin::Payload(payload) => {
                let found = steps::unwrap(payload, media_type, ring, algorithms, &mut host);
                payload.zeroize(); // it may carry private keys
                found.map(|found| vec![found])
            }
            Origin::Stored(found) => {
                let layers = &found.layers;
                let stored = Stored {
                    manifests: &found.manifests,
                    layers: layers
                        .iter()
                        .map(|layer| (layer.digest.as_str(), layer.size))
                        .collect(),
                    beginning: &found.beginning,
                };
                stored.unwrap(media_type, &ring, algorithms, &mut host)
            }
        };
        let found = found.map_err(|failure| Failure { refusals: host.refusals, ..failure.into() });
        Ok(found?.into_iter().map(record).collect())
    }
}

fn record(found: steps::Unwrapped) -> Unwrapped {
    let steps::Unwrapped { opened, layer, manifests } = found;
    let unwrap::Opened { key, scheme, by, algorithms, .. } = opened;
    let key = LayerKey {
        cipher: layer::AES_256_CTR_HMAC_SHA256.to_owned(),
        key: key.key().to_vec(),
        nonce: key.nonce().to_vec(),
        hmac: key.hmac().to_vec(),
        digest: key.compared_digest(),
        length: key.length(),
    };
    let opened = Opened {
        scheme: scheme.to_string(),
        key: by.name,
        fingerprint: by.fingerprint,
        layer_digest: layer,
        algorithms: algorithms.iter().map(named).collect(),
    };
    Unwrapped { key, opened, manifests }
}

/// An algorithm as the contract names it.
fn named(algorithm: &Algorithm) -> String {
    if algorithm.is_legacy() { format!("{algorithm} (legacy)") } else { algorithm.to_string() }
}

impl decrypting::Guest for Decoder {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        match cipher::open(source) {
            Ok(plain) => splice(&plain, &sink),
            Err(Refusal::NotGranted(own)) => decrypt_here(&own.key, &own.source, sink),
            Err(Refusal::AlreadyOpen) => Err(broken("the cipher was opened before")),
            Err(Refusal::OtherSource) => Err(broken("the cipher wants another stream")),
            Err(Refusal::NoLayer) => Err(broken("the cipher knows no layer")),
        }
    }
}

/// The plaintext goes from the host to the host and does not enter this memory.
fn splice(plain: &InputStream, sink: &OutputStream) -> Result<(), Failure> {
    loop {
        match sink.blocking_splice(plain, SPLICE) {
            Ok(_) => {}
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(broken(&error.to_debug_string()));
            }
        }
    }
}

/// Every byte inside the sandbox: slower, for those who do not want the host to decrypt. It verifies
/// HMAC and digest of what is read and written here, five times as fast as it could be done here.
fn decrypt_here(key: &CipherKey, source: &InputStream, sink: OutputStream) -> Result<(), Failure> {
    let keystream = Keystream::of_cipher(&key.cipher, &key.key, &key.nonce);
    let mut keystream =
        keystream.map_err(|error| failure::Failure::from(layer::LayerError::from(error)))?;
    let mut sink = Sink(sink);
    loop {
        match source.blocking_read(SPLICE) {
            Ok(mut bytes) => {
                keystream.apply(&mut bytes);
                sink.write_all(&bytes).map_err(steps::unwritable)?;
            }
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(broken(&error.to_debug_string()));
            }
        }
    }
}

struct Sink(OutputStream);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(AT_ONCE)];
        match self.0.blocking_write_and_flush(part) {
            Ok(()) => Ok(part.len()),
            Err(StreamError::Closed) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(StreamError::LastOperationFailed(error)) => {
                Err(io::Error::other(error.to_debug_string()))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // every write is
    }
}

/// The host does not keep the contract, which an operator cannot solve.
fn broken(what: &str) -> Failure {
    let message = format!("the host refused its cipher: {what}");
    failure::Failure::new(message, UnwrapHint::ContractBroken).into()
}

impl From<failure::Failure> for Failure {
    fn from(failure: failure::Failure) -> Self {
        Self {
            message: failure.diagnostic.message,
            hints: failure.diagnostic.hints.iter().map(ToString::to_string).collect(),
            layer_digest: failure.layer,
            refusals: Vec::new(),
            manifests: failure.manifests,
        }
    }
}

#[expect(unsafe_code, reason = "generated: the functions that the host calls")]
mod exports {
    use super::Decoder;

    crate::bindings::export!(Decoder with_types_in crate::bindings);
}
