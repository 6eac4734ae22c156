//! Images in archives: `oci-archive:` and `docker-archive:`.

use std::fmt;
use std::path::PathBuf;

use keycell_diagnostic::hint::ImageHint;

use crate::error::Result;
use crate::name::Choice;
use crate::place::{Source, Target};

/// The file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveFile {
    /// Standard input, or standard output.
    Standard,
    /// A file.
    Path(PathBuf),
}

impl fmt::Display for ArchiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

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
