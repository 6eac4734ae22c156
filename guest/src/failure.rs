//! Why a step failed and what would mend it, in words for the person who runs the node.

use ocicrypt::annotation::Scheme;
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::LayerError;
use ocicrypt::payload::PayloadError;
use ocicrypt::unwrap::{Outcome, Remedy, SchemeFailure, UnwrapError};

use crate::steps::passed_over;

/// An error and the ways out of it. Lower case, no full stop, values in backticks, no secrets.
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// What would mend it, a line each.
    pub hints: Vec<String>,
    /// The digest of the layer, as the payload has it, once that is known.
    pub layer: Option<String>,
    /// The stored manifests that it is about: their places in the request.
    pub manifests: Vec<u32>,
}

impl Failure {
    /// A failure with one way out, or none if `hint` is empty.
    pub fn new(message: impl Into<String>, hint: &str) -> Self {
        let hints = if hint.is_empty() { Vec::new() } else { vec![hint.to_owned()] };
        Self { message: message.into(), hints, layer: None, manifests: Vec::new() }
    }

    /// No key opens the layer. Says what was tried, and what lay there and was no key.
    pub fn no_key(error: &UnwrapError, ring: &KeyRing) -> Self {
        let failures = match error {
            UnwrapError::NoKeyOpened { failures } => failures,
            UnwrapError::MediaType(_) => return Self::new(error.to_string(), OTHER_TYPE),
            UnwrapError::NotEncrypted => return Self::new(error.to_string(), NOT_ENCRYPTED),
            _ => return Self::new(error.to_string(), DAMAGED),
        };
        let mut message = error.to_string();
        let skipped = ring.skipped_so_far();
        if !skipped.is_empty() {
            message += &format!("; passed over: {}", passed_over(&skipped));
        }
        if failures.iter().any(|failure| failure.outcome == Outcome::NoKeys) {
            message += &instead(ring);
        }
        let mut hints: Vec<&str> = Vec::new();
        for hint in failures.iter().flat_map(|failure| ways_out(failure, ring)) {
            if !hints.contains(hint) {
                hints.push(hint);
            }
        }
        let hints = hints.into_iter().map(str::to_owned).collect();
        Self { message, hints, layer: None, manifests: Vec::new() }
    }
}

/// What lies there in the place of the key that is missing.
fn instead(ring: &KeyRing) -> String {
    let found = [
        (ring.candidates(), "private key"),
        (ring.pgp_keys().count(), "OpenPGP key"),
        (ring.certificates().len(), "certificate"),
    ];
    let found = found.into_iter().filter(|(count, _)| *count > 0);
    let found = found.map(|(count, what)| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    });
    match found.collect::<Vec<_>>() {
        none if none.is_empty() && ring.skipped_so_far().is_empty() => {
            ", and no file that could be one".to_owned()
        }
        none if none.is_empty() => String::new(),
        found => format!("; found instead: {}", found.join(", ")),
    }
}

/// What would help with the wrapped keys of one scheme.
fn ways_out(failure: &SchemeFailure, ring: &KeyRing) -> &'static [&'static str] {
    let is_pgp = failure.scheme == Scheme::Pgp;
    let remedy = match &failure.outcome {
        Outcome::NotConfigured => return &[NO_PROVIDER],
        Outcome::NoKeys if failure.scheme == Scheme::Pkcs11 => return &[NO_TOKEN],
        Outcome::NoKeys if ring.candidates() == 0 && ring.pgp_keys().next().is_none() => {
            return &[NO_KEYS];
        }
        Outcome::Tried { remedy, .. } => *remedy,
        _ => Remedy::Key,
    };
    match remedy {
        Remedy::Encryption => &[OTHER_WAY],
        Remedy::Elsewhere => &[NOT_BROKERED],
        Remedy::Module => &[NO_TOKEN],
        Remedy::Password => &[NO_PASSWORD],
        Remedy::Algorithms => &[OTHER_ALGORITHMS, OR_LEGACY],
        Remedy::Fewer => &[FEWER_KEYS, FEWER_RECIPIENTS],
        Remedy::Key if is_pgp => &[WRONG_PGP_KEY],
        Remedy::Key => &[WRONG_KEY],
        Remedy::KeyOrImage if is_pgp => &[WRONG_PGP_KEY, OR_DAMAGED],
        Remedy::KeyOrImage => &[WRONG_KEY, OR_DAMAGED],
        _ => &[DAMAGED],
    }
}

const OTHER_TYPE: &str = "the media type of an encrypted layer ends in `+encrypted`, such as \
    `application/vnd.oci.image.layer.v1.tar+gzip+encrypted`: does the `accepts` of containerd's \
    stream processor list another one?";

const NOT_ENCRYPTED: &str = "whoever copied this image dropped the annotations of its manifest, \
    and with them the wrapped keys: pull it from where it was encrypted";

const NO_PROVIDER: &str = "name the key provider in a file, for instance \
    `{\"key-providers\":{\"NAME\":{\"cmd\":{\"path\":\"/usr/bin/PROGRAM\"}}}}`, and this file in \
    `OCICRYPT_KEYPROVIDER_CONFIG` in the environment of containerd, or in the `env` of its stream \
    processor";

const NO_TOKEN: &str = "put a PKCS#11 key file into the keys directory, and allow its module in \
    the file that `OCICRYPT_CONFIG` names (or `/etc/ocicrypt.conf`): `pkcs11: \
    {module-directories: [/usr/lib/softhsm/], allowed-module-paths: [/usr/lib/softhsm/]}`";

const NOT_BROKERED: &str = "it is the key provider or the token that failed: try it by hand, as \
    the user that containerd runs as";

const DAMAGED: &str = "the keys are not the cause: the manifest was altered, or a broken tool \
    encrypted the image; pull it again, and if that fails too have it encrypted again";

const OTHER_WAY: &str = "the keys are not the cause: have the image encrypted again in a way that \
    every decoder reads, for example with `keycell encrypt` or `skopeo copy --encryption-key`";

const OR_DAMAGED: &str = "if that is the right key, the manifest was altered, or a broken tool \
    encrypted the image: pull it again, and if that fails too have it encrypted again";

const OTHER_ALGORITHMS: &str = "have the image encrypted with modern algorithms, for instance for \
    a key on an elliptic curve, `keycell encrypt -r jwe:EC.pem`; other programs write RSA with SHA-1";

const OR_LEGACY: &str = "or accept legacy algorithms: take `min-algorithms = \"modern\"` out of \
    `/etc/keycell/config.toml`, or `--min-algorithms modern` out of the decoder's flags";

const FEWER_KEYS: &str = "there are more combinations of keys and recipients than are tried: take \
    keys that open nothing out of the keys directory, `keycell doctor` names them";

const FEWER_RECIPIENTS: &str = "or have the image encrypted for fewer recipients, or again by \
    `keycell encrypt`, which names the key of each recipient so that it is tried first";

const NO_PASSWORD: &str = "put the password of the key `NAME` into `NAME.pass` beside it";

const WRONG_PGP_KEY: &str = "the image was encrypted for other OpenPGP keys: export the secret key \
    of one of its recipients into the keys directory, `gpg --export-secret-keys ID >NAME.gpg`";

const NO_KEYS: &str = "put the private key of one of the image's recipients into the directory \
    that `--decryption-keys-path` names (PEM, DER, JWK or OpenPGP), readable for the user that containerd \
    runs as";

const WRONG_KEY: &str = "the image was encrypted for other keys: put the private key of one of \
    its recipients into the keys directory; `openssl pkey -in KEY -pubout -outform DER | openssl \
    dgst -sha256 -binary | base64` shows a key's fingerprint";

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Empty => Self::new(error.to_string(), EMPTY),
            _ => Self::new(error.to_string(), NOT_OURS),
        }
    }
}

const EMPTY: &str = "`ctd-decoder` looks the layer up in containerd's content store where there is \
    no payload; other callers of this guest need one: `keycell payload IMAGE --output FILE` makes it";

const NOT_OURS: &str = "containerd passes the payload of a stream processor whose id begins with \
    `io.containerd.ocicrypt.decoder.v1`; is `ctd-decoder` the `path` of another one?";

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        let hint = match error {
            LayerError::DigestMismatch => {
                "whoever encrypted this image sealed another layer's digest: have it encrypted again"
            }
            LayerError::CutOff { .. } => {
                "whoever sends the layer stopped: look why, and send it again from the beginning"
            }
            _ => "remove the image and pull it again",
        };
        Self::new(error.to_string(), hint)
    }
}
