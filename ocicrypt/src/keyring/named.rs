//! Keys and their origins.

use std::fmt;

use crate::keys::{Fingerprint, PrivateKey};
use crate::pgp::PgpKey;

/// A private key and its origin.
pub struct NamedKey {
    name: String,
    key: PrivateKey,
}

impl NamedKey {
    pub(super) fn new(name: String, key: PrivateKey) -> Self {
        Self { name, key }
    }

    /// The fingerprint of the key, which is computed only once.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }

    /// The name of the file, or `privkeys[0]` and so on for keys of the payload; it is sanitized for
    /// messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// The text has kind, name and fingerprint, for example ``RSA-2048 `pod.pem` (SHA256:…)``.
impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` ({})", self.key.kind(), self.name, self.fingerprint())
    }
}

/// An OpenPGP secret key and its origin.
pub struct NamedPgpKey {
    name: String,
    key: PgpKey,
}

impl NamedPgpKey {
    pub(super) fn new(name: String, key: PgpKey) -> Self {
        Self { name, key }
    }

    /// The name of the file, or `gpg-privatekeys[0]` and so on for keys of the payload; it is sanitized
    /// for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &PgpKey {
        &self.key
    }
}

/// The text has kind, name and fingerprint, for example ``RSA-3072 `pod.gpg` (OpenPGP 0123…)``.
impl fmt::Display for NamedPgpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` (OpenPGP {})", self.key.kind(), self.name, self.key.fingerprint())
    }
}
