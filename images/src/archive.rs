//! Images in archives: `oci-archive:` and `docker-archive:`.

use std::path::Path;

use keycell_diagnostic::hint::ImageHint;

use crate::choice::{ArchiveFile, Choice};
use crate::error::Result;
use crate::place::{Source, Target};

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no archive.
    #[error("`{0}` is no archive")]
    NoArchive(ArchiveFile),
}

impl ArchiveError {
    /// What mends it.
    pub fn hint(&self) -> Option<ImageHint> {
        None
    }
}

/// Opens an image in an archive with an OCI image layout.
///
/// # Errors
/// What is no such archive, or does not hold the image.
pub fn open_oci(file: &ArchiveFile, _choice: &Choice) -> Result<Box<dyn Source>> {
    Err(ArchiveError::NoArchive(file.clone()).into())
}

/// Opens an image in an archive of `docker save`.
///
/// # Errors
/// What is no such archive, or does not hold the image.
pub fn open_docker(file: &ArchiveFile, _choice: &Choice) -> Result<Box<dyn Source>> {
    Err(ArchiveError::NoArchive(file.clone()).into())
}

/// Prepares an archive with an OCI image layout.
///
/// # Errors
/// A file that is there and not to be replaced, or that cannot be written.
pub fn create_oci(file: &ArchiveFile, _choice: &Choice, _replace: bool) -> Result<Box<dyn Target>> {
    Err(ArchiveError::NoArchive(file.clone()).into())
}

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An OCI image layout.
    Oci,
    /// What `docker save` writes.
    Docker,
}

/// What the archive at this path holds, if it is one.
pub fn kind(_path: &Path) -> Option<Kind> {
    None
}
