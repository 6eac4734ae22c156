//! Images in registries (OCI distribution specification 1.1).

mod answer;
mod authenticator;
mod challenge;
mod client;
mod credentials;
mod download;
mod error;
mod failure;
mod http;
mod manifest;
mod proxy;
mod pusher;
mod reference;
mod referrers;
mod retry;
mod saying;
mod secret;
mod source;
mod stream;
mod target;
mod token;
mod upload;
mod uploads;
mod url;

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::Result;
use crate::place::{Source, Target};

pub use error::{ConnectError, CredentialsError, Malformation, Part, RegistryError};
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
    /// How long a connection may be silent before it counts as broken, in place of 30 seconds.
    pub patience: Option<Duration>,
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
pub fn open(reference: &Reference, options: &Options) -> Result<Box<dyn Source>> {
    Ok(Box::new(source::RegistrySource::open(reference, options)?))
}

/// Prepares to write an image to a registry.
///
/// # Errors
/// A registry that cannot be reached, that does not allow it, or that has such an image.
pub fn create(reference: &Reference, options: &Options, replace: bool) -> Result<Box<dyn Target>> {
    Ok(Box::new(target::RegistryTarget::create(reference, options, replace)?))
}
