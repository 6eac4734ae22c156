//! The names in a directory.

use std::ffi::OsString;
use std::io;

/// What lies in a directory, as far as it could be found out.
#[derive(Default)]
pub struct Listing {
    /// In no order.
    pub names: Vec<OsString>,
    /// Why there is more than these.
    pub fault: Option<&'static str>,
}

pub use system::list;

/// WebAssembly has no other names, so such a one cannot even be shown.
const NOT_UTF_8: &str = "it holds a file whose name is not UTF-8";

/// Asks WASI itself: the standard library's listing ends at the first name that is an error, and
/// the keys after it would be missing.
#[cfg(all(target_os = "wasi", target_env = "p2"))]
mod system {
    use std::io::{Error, ErrorKind};
    use std::path::Path;

    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

    use super::{Listing, NOT_UTF_8, io};

    /// The names in `path`, but no more than `most`.
    ///
    /// # Errors
    /// Where it is not granted, not there, or no directory that may be read.
    pub fn list(path: &Path, most: usize) -> io::Result<Listing> {
        let granted = get_directories().into_iter().find_map(|(directory, name)| {
            let below = path.strip_prefix(name).ok()?.to_str()?;
            Some((directory, if below.is_empty() { "." } else { below }))
        });
        let (directory, below) = granted.ok_or(ErrorKind::NotFound)?;
        let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
        let directory = directory.open_at(follow, below, OpenFlags::DIRECTORY, read);
        let entries = directory.map_err(error)?.read_directory().map_err(error)?;
        let mut listing = Listing::default();
        for _ in 0..most {
            match entries.read_directory_entry() {
                Ok(None) => break,
                Ok(Some(entry)) => listing.names.push(entry.name.into()),
                // The host looks what kind of file each is: this one was removed on the way.
                Err(ErrorCode::NoEntry) => {}
                Err(ErrorCode::IllegalByteSequence) => listing.fault = Some(NOT_UTF_8),
                Err(code) => return Err(error(code)),
            }
        }
        Ok(listing)
    }

    fn error(code: ErrorCode) -> Error {
        match code {
            ErrorCode::NoEntry => ErrorKind::NotFound.into(),
            ErrorCode::Access | ErrorCode::NotPermitted => ErrorKind::PermissionDenied.into(),
            code => Error::other(code.name()),
        }
    }
}

/// Everywhere else: `keycell`, and a guest without components, which sees nothing beyond the first
/// name that is not UTF-8.
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
mod system {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::{Listing, NOT_UTF_8, io};

    /// The names in `path`, but no more than `most`.
    ///
    /// # Errors
    /// Where it is not there, or no directory that may be read. Where a file was removed on the
    /// way, too: those after it are not known then.
    pub fn list(path: &Path, most: usize) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(path)?.take(most) {
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
                Err(_) => listing.fault = Some(NOT_UTF_8),
            }
        }
        Ok(listing)
    }
}
