//! Files and keys that are not used, and why.

use std::fmt;

use super::{MAX_CERTIFICATES, MAX_KEYS};
use crate::keys::NotAKey;
use crate::pgp::KeyFileError;

/// A file, or a key in a file, that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The name of the file, without control characters.
    pub name: String,
    /// Why it is not used.
    pub reason: SkipReason,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.name, self.reason)
    }
}

/// Why a file, or a key in a file, is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// It is not a private key that can be used.
    #[error("{0}")]
    NotAKey(NotAKey),
    /// It is encrypted, and the file with its password is missing.
    #[error("{reason}: put it into `{file}`")]
    PasswordFileNeeded {
        /// How it is encrypted.
        reason: NotAKey,
        /// The name of the missing file.
        file: String,
    },
    /// It is encrypted, came with the payload, and its password did not.
    #[error("{0}: put it into the same place of `privkeys-passwords`")]
    PayloadPasswordNeeded(NotAKey),
    /// It is named like a file with a password, and the key of that name is missing.
    #[error("a password without its key `{key}`")]
    PasswordAlone {
        /// The name of the missing key.
        key: String,
    },
    /// It is not an OpenPGP key that can be used.
    #[error("{0}")]
    OpenPgp(KeyFileError),
    /// The key with this name is the same.
    #[error("the same key as `{0}`")]
    SameKey(String),
    /// The ring holds as many keys as it may.
    #[error("one key more than the {MAX_KEYS} that are tried")]
    TooManyKeys,
    /// The ring holds as many certificates as it may.
    #[error("more certificates than the {MAX_CERTIFICATES} that are kept")]
    TooManyCertificates,
    /// The caller gives another reason, in words for a log.
    #[error("{0}")]
    Other(String),
}
