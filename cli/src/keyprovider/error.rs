//! What can be wrong with a request, and with the server.

use std::io;
use std::path::PathBuf;

use keycell_diagnostic::hint::KeyproviderHint;
use keycell_diagnostic::{Diagnostic, Hint, os_error};
use keycell_trusted_path as trusted;
use ocicrypt::encrypt::{EncryptError, RecipientError};
use ocicrypt::options::OptionsError;

use super::limits::{MAX_REQUEST, PATIENCE};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum KeyproviderError {
    #[error("cannot read the request: {}", os_error(.0))]
    Input(io::Error),
    #[error("cannot write the answer: {}", os_error(.0))]
    Output(io::Error),
    #[error("the request is empty")]
    Empty,
    #[error("the request is longer than {} KiB", MAX_REQUEST >> 10)]
    TooLong,
    #[error("the request is no JSON of the protocol: see line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the request asks for an operation that is neither `keywrap` nor `keyunwrap`")]
    Operation,
    #[error("the request has no `{0}`")]
    Missing(&'static str),
    #[error("`optsdata` of the request has no key of a layer: {0}")]
    Options(OptionsError),
    #[error("the request names no public key for `keycell`{others}")]
    NoParameter { others: Others },
    #[error("parameter {number} for `keycell` is no public key: {why}")]
    NoPublicKey { number: usize, why: RecipientError },
    #[error("parameter {number} for `keycell` is no public key, and no file of this name is read")]
    FileRefused { number: usize },
    #[error("cannot read the public key `{name}`: {}", os_error(.error))]
    PublicKeyFile { name: String, error: io::Error },
    #[error("the key of the layer cannot be wrapped: {0}")]
    Wrap(#[from] EncryptError),
    #[error("there is no decoder at `{}`: {}", path.display(), os_error(.error))]
    NoDecoder { path: PathBuf, error: io::Error },
    #[error("the decoder `{}` can be changed by others: {error}", path.display())]
    DecoderUntrusted { path: PathBuf, error: trusted::Error },
    #[error("`{}` is not `ctd-decoder` of this release: its version is {found}", path.display())]
    DecoderVersion { path: PathBuf, found: String },
    #[error("the decoder cannot be started: {}", os_error(.0))]
    DecoderNotStarted(io::Error),
    #[error("the decoder did not end within {} seconds", PATIENCE.as_secs())]
    Late,
    #[error("{message}")]
    Refused { message: String, hints: Vec<String> },
    #[error("what the decoder wrote is no key of a layer")]
    DecoderAnswer,
    #[error("the request did not arrive within {0} seconds")]
    SlowClient(u64),
    #[error("too many requests wait to be answered")]
    Busy,
    #[error("there is no method `{0}`")]
    Method(String),
    #[error("the request is no message of gRPC for a key provider")]
    NotGrpc,
    #[error("the server failed")]
    Broken,
}

/// The names of other providers for which a request has parameters.
#[derive(Debug)]
pub struct Others(pub Vec<String>);

impl std::fmt::Display for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            names => write!(f, ": its parameters are for `{}`", names.join("`, `")),
        }
    }
}

impl KeyproviderError {
    fn hints(&self) -> Vec<Hint> {
        use KeyproviderHint as Hint;
        let hint = match self {
            Self::Input(_) | Self::Output(_) => return Vec::new(),
            Self::Broken | Self::Busy | Self::SlowClient(_) => Hint::TryAgain,
            Self::Empty
            | Self::NotJson { .. }
            | Self::Operation
            | Self::Missing(_)
            | Self::Options(_)
            | Self::Method(_)
            | Self::NotGrpc => Hint::Protocol,
            Self::TooLong => Hint::RequestTooLong,
            Self::NoParameter { .. } => Hint::NamePublicKey,
            Self::FileRefused { .. } => Hint::InlineKey,
            Self::NoPublicKey { .. } | Self::PublicKeyFile { .. } | Self::Wrap(_) => {
                Hint::PublicKeyForms
            }
            Self::NoDecoder { .. } | Self::DecoderNotStarted(_) => Hint::InstallDecoder,
            Self::DecoderUntrusted { error, .. } => Hint::Protect { fix: error.mend() },
            Self::DecoderVersion { .. } | Self::DecoderAnswer => Hint::SameRelease,
            Self::Late => Hint::SlowDecoder,
            Self::Refused { hints, .. } => {
                return hints.iter().map(|hint| Hint::OfDecoder(hint.clone()).into()).collect();
            }
        };
        vec![hint.into()]
    }

    /// The status of gRPC.
    pub fn status(&self) -> u8 {
        match self {
            Self::Empty
            | Self::NotJson { .. }
            | Self::Operation
            | Self::Missing(_)
            | Self::Options(_)
            | Self::NoParameter { .. }
            | Self::NoPublicKey { .. }
            | Self::FileRefused { .. }
            | Self::PublicKeyFile { .. }
            | Self::Wrap(_)
            | Self::NotGrpc => 3, // INVALID_ARGUMENT
            Self::Late | Self::SlowClient(_) => 4, // DEADLINE_EXCEEDED
            Self::TooLong | Self::Busy => 8,       // RESOURCE_EXHAUSTED
            Self::Refused { .. } => 9,             // FAILED_PRECONDITION
            Self::Method(_) => 12,                 // UNIMPLEMENTED
            _ => 13,                               // INTERNAL
        }
    }
}

impl From<KeyproviderError> for Diagnostic {
    fn from(error: KeyproviderError) -> Self {
        Self { message: error.to_string(), hints: error.hints() }
    }
}
