//! The standard library, for `keycell` and for a guest that is not a component. In WASI 0.1 the
//! listing ends at the first name that is not UTF-8.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Directory, Found, Listing, content};
use crate::MAX_FILE;

/// A directory, by its path. In an ordinary process links may lead out of it.
pub struct StdDirectory(PathBuf);

impl StdDirectory {
    /// The directory at `path`. It need not exist.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Directory for StdDirectory {
    type File = Zeroizing<Vec<u8>>;

    /// Fails also where a file is removed during the listing: the names after it are unknown then.
    fn list(&self, path: &Path, limit: usize) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(self.0.join(path))?.take(limit) {
            match entry {
                Ok(entry) => listing.names.push(entry.file_name()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::PermissionDenied
                    ) =>
                {
                    return Err(error);
                }
                Err(_) => listing.has_other_names = true,
            }
        }
        Ok(listing)
    }

    fn read(&self, path: &Path) -> io::Result<Found<Self::File>> {
        let path = self.0.join(path);
        let metadata = fs::metadata(&path)?;
        if let Some(found) = Found::unread(metadata.is_dir(), metadata.is_file(), metadata.len()) {
            return Ok(found);
        }
        let file = File::open(&path)?;
        // The length of the file that is open: the link may lead to another file by now.
        let length = file.metadata()?.len().min(MAX_FILE);
        Ok(Found::File(content(file, length)?))
    }

    fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.0.join(path)).is_ok()
    }

    fn is_link(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.0.join(path)).is_ok_and(|found| found.is_symlink())
    }
}
