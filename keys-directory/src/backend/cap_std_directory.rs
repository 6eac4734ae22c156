//! cap-std, for a process with ambient authority: no link leads out of the directory.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use zeroize::Zeroizing;

use super::{Directory, Found, Listing, content};
use crate::MAX_FILE;

/// A directory that is open.
pub struct CapStdDirectory(Dir);

impl CapStdDirectory {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// The directory does not exist, or may not be opened.
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn open(path: &Path) -> io::Result<Self> {
        Dir::open_ambient_dir(path, ambient_authority()).map(Self)
    }
}

/// A file that was read.
pub struct CapStdFile {
    /// Its bytes.
    pub content: Zeroizing<Vec<u8>>,
    /// Its device and inode numbers: two links to one file have the same.
    pub identity: (u64, u64),
}

impl CapStdFile {
    /// Reads a regular file that is open.
    ///
    /// # Errors
    /// The file is larger than [`MAX_FILE`], or cannot be read.
    pub fn read(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (length, identity) = (metadata.len(), (metadata.dev(), metadata.ino()));
        if length > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Self { content: content(file, length)?, identity })
    }
}

impl Directory for CapStdDirectory {
    type File = CapStdFile;

    fn list(&self, path: &Path, limit: usize) -> io::Result<Listing> {
        let entries = self.0.read_dir(relative(path))?.take(limit).flatten();
        let names = entries.map(|entry| entry.file_name()).collect();
        Ok(Listing { names, has_other_names: false })
    }

    fn read(&self, path: &Path) -> io::Result<Found<Self::File>> {
        let path = relative(path);
        let metadata = self.0.metadata(path)?;
        if let Some(found) = Found::unread(metadata.is_dir(), metadata.is_file(), metadata.len()) {
            return Ok(found);
        }
        Ok(Found::File(CapStdFile::read(self.0.open(path)?.into_std())?))
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.symlink_metadata(relative(path)).is_ok()
    }

    fn is_link(&self, path: &Path) -> bool {
        self.0.symlink_metadata(relative(path)).is_ok_and(|found| found.is_symlink())
    }
}

/// The directory itself has a name here.
fn relative(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
