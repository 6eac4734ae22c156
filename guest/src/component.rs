//! The component that `ctd-decoder` embeds: `wit/decoder.wit`, and the host's cipher.

use std::path::Path;

use keycell_diagnostic::hint::UnwrapHint;
use ocicrypt::algorithms::{Algorithm, MinAlgorithms};
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::{self, Keystream};
use ocicrypt::unwrap;
use zeroize::Zeroize;

use crate::bindings::exports::keycell::decoder::decrypting::{self, Output};
use crate::bindings::exports::keycell::decoder::unwrapping;
use crate::bindings::keycell::decoder::cipher::{self, OwnCipher, Refusal};
use crate::bindings::keycell::decoder::types::{
    self, CipherKey, Failure, LayerKey, Opened, Origin, Request, Unwrapped,
};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

use crate::broker_imports::Host;
use crate::stored::Stored;
use crate::streams::{Sink, Source};
use crate::{failure, inflate, keys, steps};

/// How much a splice moves at most: what the host releases at a time.
const SPLICE: u64 = layer::CHUNK as u64;

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
    fn decrypt(source: InputStream, sink: OutputStream, output: Output) -> Result<(), Failure> {
        match (cipher::open(source), output) {
            (Ok(plain), Output::Decrypted) => splice(&plain, &sink),
            (Ok(plain), Output::Decompressed) => {
                Ok(inflate::decompress(Source::new(plain, None), Sink(sink))?)
            }
            (Err(Refusal::NotGranted(own)), _) => decrypt_here(own, sink, output),
            (Err(Refusal::AlreadyOpen), _) => Err(broken("the cipher was opened before")),
            (Err(Refusal::OtherSource), _) => Err(broken("the cipher wants another stream")),
            (Err(Refusal::NoLayer), _) => Err(broken("the cipher knows no layer")),
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

/// Decrypts every byte inside the sandbox, which is slower, for operators who do not want the host to
/// decrypt. The host verifies the HMAC and the digest of what the guest reads and writes, five times as
/// fast as the guest could.
fn decrypt_here(own: OwnCipher, sink: OutputStream, output: Output) -> Result<(), Failure> {
    let CipherKey { cipher, key, nonce } = &own.key;
    let keystream = Keystream::of_cipher(cipher, key, nonce);
    let keystream =
        keystream.map_err(|error| failure::Failure::from(layer::LayerError::from(error)))?;
    let source = Source::new(own.source, Some(keystream));
    let copied = match output {
        Output::Decrypted => inflate::copy(source, Sink(sink)),
        Output::Decompressed => inflate::decompress(source, Sink(sink)),
    };
    Ok(copied?)
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
