//! How a directory is read: the interface, and its implementations.

use std::ffi::OsString;
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
use std::fs::File;
use std::io;
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
use std::io::Read;
use std::path::Path;

#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
use zeroize::Zeroizing;

use crate::MAX_FILE;

#[cfg(feature = "cap-std")]
mod cap_std_directory;
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
mod std_directory;
#[cfg(all(target_os = "wasi", target_env = "p2"))]
mod wasi_directory;

#[cfg(feature = "cap-std")]
pub use cap_std_directory::{CapStdDirectory, CapStdFile};
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
pub use std_directory::StdDirectory as GrantedDirectory;
#[cfg(all(target_os = "wasi", target_env = "p2"))]
pub use wasi_directory::WasiDirectory as GrantedDirectory;

/// A directory and everything below it. Paths are relative to it; the empty path is the directory
/// itself.
pub trait Directory {
    /// A file that was read.
    type File;

    /// The names in the directory `path`, at most `limit` of them.
    ///
    /// # Errors
    /// The directory does not exist, or may not be read.
    fn list(&self, path: &Path, limit: usize) -> io::Result<Listing>;

    /// Reads what `path` leads to. Links are followed.
    ///
    /// # Errors
    /// The target does not exist, or may not be read.
    fn read(&self, path: &Path) -> io::Result<Found<Self::File>>;

    /// Whether the name exists, even as a link that leads nowhere.
    fn exists(&self, path: &Path) -> bool;

    /// Whether `path` is a link.
    fn is_link(&self, path: &Path) -> bool;
}

/// The names in a directory.
#[derive(Default)]
pub struct Listing {
    /// The names, in no order.
    pub names: Vec<OsString>,
    /// Whether there are other names, which are not UTF-8.
    pub has_other_names: bool,
}

/// What a path leads to.
pub enum Found<F> {
    /// A directory.
    Directory,
    /// Neither a directory nor a regular file.
    Special,
    /// A file that is larger than [`MAX_FILE`].
    Large,
    /// A file.
    File(F),
}

impl<F> Found<F> {
    /// What a path leads to if it is not a file that is read: a directory, something special, or a file
    /// of more than [`MAX_FILE`] bytes. A backend checks this before it opens the path, because
    /// opening a pipe would wait for a writer.
    fn unread(is_directory: bool, is_file: bool, length: u64) -> Option<Self> {
        match (is_directory, is_file) {
            (true, _) => Some(Self::Directory),
            (false, false) => Some(Self::Special),
            (false, true) => (length > MAX_FILE).then_some(Self::Large),
        }
    }
}

/// Reads `length` bytes of a file, or all of a shorter one. The vector has room for all of them, because
/// one that grows leaves copies in memory.
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
fn content(file: File, length: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(length).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_up_to_the_limit_are_read() {
        let unread = |is_directory, is_file, length| {
            Found::<()>::unread(is_directory, is_file, length).map(|found| match found {
                Found::Directory => "directory",
                Found::Special => "special",
                Found::Large => "large",
                Found::File(()) => "file",
            })
        };
        assert_eq!(unread(true, false, 0), Some("directory"));
        assert_eq!(unread(false, false, 0), Some("special"));
        assert_eq!(unread(false, true, MAX_FILE + 1), Some("large"));
        assert_eq!(unread(false, true, MAX_FILE), None);
    }
}
