//! The file to which the digest of a new image is written.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use keycell_diagnostic::os_error;

/// The digest cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the digest to `{}`: {}", path.display(), os_error(error))]
pub struct DigestFileError {
    path: PathBuf,
    error: io::Error,
}

/// A file that can be written, and has not changed yet.
pub struct DigestFile<'a> {
    path: &'a Path,
    file: File,
    /// Whether this made it, and nothing is in it yet.
    is_new: bool,
}

impl<'a> DigestFile<'a> {
    /// Opens the file before anything else is written.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn open(path: &'a Path) -> Result<Self, DigestFileError> {
        let is_new = !path.exists();
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| DigestFileError { path: path.to_owned(), error })?;
        Ok(Self { path, file, is_new })
    }

    /// Writes the digest in the place of what the file had.
    ///
    /// # Errors
    /// A full disk, or another failure of the system.
    pub fn write(mut self, digest: &str) -> Result<(), DigestFileError> {
        self.is_new = false;
        // A pipe has nothing that goes.
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(digest.as_bytes()));
        written.map_err(|error| DigestFileError { path: self.path.to_owned(), error })
    }
}

impl Drop for DigestFile<'_> {
    fn drop(&mut self) {
        if self.is_new {
            let _ = fs::remove_file(self.path);
        }
    }
}
