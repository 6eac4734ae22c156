//! The files of a granted directory.

use std::ffi::OsString;
use std::io;

use zeroize::Zeroizing;

pub use system::Files;

/// A larger file is no private key: 1 MiB. The largest known is a few kilobytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What lies in a directory, as far as it could be found out.
#[derive(Default)]
pub struct Listing {
    /// In no order.
    pub names: Vec<OsString>,
    /// Why there is more than these.
    pub fault: Option<&'static str>,
}

/// What a name leads to.
pub enum Found {
    /// A directory.
    Directory,
    /// Neither a directory nor a regular file.
    Special,
    /// A file of more than 1 MiB.
    Large,
    /// The bytes of a file.
    Content(Zeroizing<Vec<u8>>),
}

/// WebAssembly has no other names, so such a one cannot even be shown.
const NOT_UTF_8: &str = "it holds a file whose name is not UTF-8";

/// Asks WASI itself. The standard library's listing ends at the first name that is an error, and the
/// keys after it would be missing; and it asks through a C library, which imports thirty functions
/// more than these, each of which costs a start time.
#[cfg(all(target_os = "wasi", target_env = "p2"))]
mod system {
    use std::io::{Error, ErrorKind};
    use std::path::{Path, PathBuf};

    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{
        Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags,
        PathFlags,
    };

    use super::{Found, Listing, MAX_FILE, NOT_UTF_8, Zeroizing, io};

    /// A directory and what is below it.
    pub struct Files {
        /// The granted directory, and where in it this one is.
        granted: Option<(Descriptor, PathBuf)>,
    }

    impl Files {
        /// The files below `directory`: none where it is not granted.
        pub fn of(directory: &Path) -> Self {
            let granted = get_directories().into_iter().find_map(|(descriptor, name)| {
                Some((descriptor, directory.strip_prefix(name).ok()?.to_owned()))
            });
            Self { granted }
        }

        /// The names in `path`, but no more than `most`.
        ///
        /// # Errors
        /// Where it is not granted, not there, or no directory that may be read.
        pub fn list(&self, path: &Path, most: usize) -> io::Result<Listing> {
            let entries = self.open(path, OpenFlags::DIRECTORY)?.read_directory().map_err(error)?;
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

        /// What `path` leads to.
        ///
        /// # Errors
        /// Where it leads nowhere, or to what may not be read.
        pub fn look(&self, path: &Path) -> io::Result<Found> {
            // Before it is opened: opening a pipe would wait for a writer.
            let found = self.stat(path, PathFlags::SYMLINK_FOLLOW)?;
            match found.type_ {
                DescriptorType::Directory => return Ok(Found::Directory),
                DescriptorType::RegularFile if found.size > MAX_FILE => return Ok(Found::Large),
                DescriptorType::RegularFile => {}
                _ => return Ok(Found::Special),
            }
            let file = self.open(path, OpenFlags::empty())?;
            // Of this very file: the link may lead to another one by now.
            let length = file.stat().map_err(error)?.size.min(MAX_FILE);
            // With room for all of it: a vector that grows leaves copies behind.
            let mut content = Zeroizing::new(Vec::with_capacity(length as usize));
            while (content.len() as u64) < length {
                let read = content.len() as u64;
                let (bytes, _) = file.read(length - read, read).map_err(error)?;
                let bytes = Zeroizing::new(bytes);
                if bytes.is_empty() {
                    break; // it has become shorter
                }
                content.extend_from_slice(&bytes);
            }
            Ok(Found::Content(content))
        }

        /// Whether there is something of this name, be it a link that leads nowhere.
        pub fn is_there(&self, path: &Path) -> bool {
            self.stat(path, PathFlags::empty()).is_ok()
        }

        /// Whether `path` is a link.
        pub fn is_link(&self, path: &Path) -> bool {
            let found = self.stat(path, PathFlags::empty());
            found.is_ok_and(|found| found.type_ == DescriptorType::SymbolicLink)
        }

        fn open(&self, path: &Path, how: OpenFlags) -> io::Result<Descriptor> {
            let (granted, path) = self.place(path)?;
            let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
            granted.open_at(follow, &path, how, read).map_err(error)
        }

        fn stat(&self, path: &Path, links: PathFlags) -> io::Result<DescriptorStat> {
            let (granted, path) = self.place(path)?;
            granted.stat_at(links, &path).map_err(error)
        }

        fn place(&self, path: &Path) -> io::Result<(&Descriptor, String)> {
            let (granted, below) = self.granted.as_ref().ok_or(ErrorKind::NotFound)?;
            let path = below.join(path).into_os_string().into_string();
            let path = path.map_err(|_| ErrorKind::InvalidFilename)?;
            Ok((granted, if path.is_empty() { ".".to_owned() } else { path }))
        }
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
    use std::fs;
    use std::io::{ErrorKind, Read};
    use std::path::{Path, PathBuf};

    use super::{Found, Listing, MAX_FILE, NOT_UTF_8, Zeroizing, io};

    /// A directory and what is below it.
    pub struct Files(PathBuf);

    impl Files {
        /// The files below `directory`.
        pub fn of(directory: &Path) -> Self {
            Self(directory.to_owned())
        }

        /// The names in `path`, but no more than `most`.
        ///
        /// # Errors
        /// Where it is not there, or no directory that may be read. Where a file was removed on
        /// the way, too: those after it are not known then.
        pub fn list(&self, path: &Path, most: usize) -> io::Result<Listing> {
            let mut listing = Listing::default();
            for entry in fs::read_dir(self.0.join(path))?.take(most) {
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

        /// What `path` leads to.
        ///
        /// # Errors
        /// Where it leads nowhere, or to what may not be read.
        pub fn look(&self, path: &Path) -> io::Result<Found> {
            let path = self.0.join(path);
            // Before it is opened: opening a pipe would wait for a writer.
            let found = fs::metadata(&path)?;
            if found.is_dir() {
                return Ok(Found::Directory);
            } else if !found.is_file() {
                return Ok(Found::Special);
            } else if found.len() > MAX_FILE {
                return Ok(Found::Large);
            }
            let file = fs::File::open(&path)?;
            // Of this very file: the link may lead to another one by now.
            let length = file.metadata()?.len().min(MAX_FILE);
            // With room for all of it: a vector that grows leaves copies behind.
            let mut content = Zeroizing::new(Vec::with_capacity(length as usize + 1));
            file.take(length).read_to_end(&mut content)?;
            Ok(Found::Content(content))
        }

        /// Whether there is something of this name, be it a link that leads nowhere.
        pub fn is_there(&self, path: &Path) -> bool {
            fs::symlink_metadata(self.0.join(path)).is_ok()
        }

        /// Whether `path` is a link.
        pub fn is_link(&self, path: &Path) -> bool {
            fs::symlink_metadata(self.0.join(path)).is_ok_and(|found| found.is_symlink())
        }
    }
}
