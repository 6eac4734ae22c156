//! Images in registries (OCI distribution specification 1.1).

mod error;
mod reference;

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::Result;
use crate::place::{Source, Target};

pub use error::{Part, RegistryError};
pub use reference::{Reference, Repository};

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
