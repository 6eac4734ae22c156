//! The errors of key providers and tokens.

use std::io;

use crate::{providers, tokens};

/// Why a key provider or a token did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The operator has configured no such provider, or allows no such PKCS#11 module.
    #[error("it is not configured")]
    NotConfigured,
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// How it failed. The text is one line for the operator. It includes the fix if there is one, is in
/// lower case without a full stop, has values in backticks, and never contains a PIN or a key.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A key provider failed.
    #[error(transparent)]
    Provider(#[from] providers::Error),
    /// A token, or the way to it, failed.
    #[error("`{key}`: {why}")]
    Token {
        /// The key, in a form that may be shown.
        key: String,
        /// Why.
        why: tokens::Error,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] tokens::KeyFileError),
    /// The operator's list of modules cannot be used.
    #[error(transparent)]
    Policy(#[from] tokens::PolicyError),
    /// The bytes that came as a key file are not one.
    #[error("not a PKCS#11 key file")]
    NoKeyFile,
    /// The keys directory cannot be read.
    #[error("cannot read the keys: {}", .0.kind())]
    Keys(#[from] io::Error),
}

impl From<providers::Error> for Refusal {
    fn from(error: providers::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<tokens::PolicyError> for Refusal {
    fn from(error: tokens::PolicyError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<tokens::KeyFileError> for Refusal {
    fn from(error: tokens::KeyFileError) -> Self {
        Self::Failed(error.into())
    }
}
