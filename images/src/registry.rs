//! Images in registries (OCI distribution specification 1.1).

use std::fmt;
use std::path::PathBuf;

use keycell_diagnostic::hint::ImageHint;
use zeroize::Zeroizing;

use crate::error::Result;
use crate::place::{Source, Target};

/// How registries are reached.
#[derive(Default)]
pub struct Options {
    /// Whether certificates of registries are not verified.
    pub any_certificate: bool,
    /// Whether registries are reached without TLS.
    pub plain_http: bool,
    /// Certificates, in PEM, that registries may be certified by, beside those of the system.
    pub authorities: Vec<PathBuf>,
    /// Who signs in, in place of what the files of credentials say.
    pub login: Option<Login>,
    /// The file with credentials, in place of the usual ones.
    pub credentials: Option<PathBuf>,
}

/// A name and a password.
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The host, with its port if one is named.
    pub host: String,
    /// The path of the repository.
    pub path: String,
}

/// An image in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag or the digest.
    pub version: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repository { host, path } = &self.repository;
        let separator = if self.version.contains(':') { '@' } else { ':' };
        write!(f, "{host}/{path}{separator}{}", self.version)
    }
}

/// Why a registry does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached.
    #[error("cannot reach `{0}`")]
    Unreachable(String),
}

impl RegistryError {
    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        None
    }
}

/// Opens an image in a registry.
///
/// # Errors
/// A registry that cannot be reached, or has no such image.
pub fn open(reference: &Reference, _options: &Options) -> Result<Box<dyn Source>> {
    Err(RegistryError::Unreachable(reference.repository.host.clone()).into())
}

/// Prepares to write an image to a registry.
///
/// # Errors
/// A registry that cannot be reached, that does not allow it, or that has such an image.
pub fn create(
    reference: &Reference,
    _options: &Options,
    _replace: bool,
) -> Result<Box<dyn Target>> {
    Err(RegistryError::Unreachable(reference.repository.host.clone()).into())
}
