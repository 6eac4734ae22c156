//! WASI 0.2 itself, for a component. The standard library's listing ends at the first name that is an
//! error, so that the keys after it would be missing. It also uses a C library, which imports thirty
//! functions more than these, and each import costs time at every start.

use std::io::{self, Error, ErrorKind};
use std::path::{Path, PathBuf};

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};
use zeroize::Zeroizing;

use super::{Directory, Found, Listing};
use crate::MAX_FILE;

/// A directory that the host grants, or one below it.
pub struct WasiDirectory {
    /// The granted directory, and the path of this one in it. None if it is not granted.
    granted: Option<(Descriptor, PathBuf)>,
}

impl WasiDirectory {
    /// The directory at `path`. It need not exist or be granted.
    pub fn new(path: &Path) -> Self {
        let granted = get_directories().into_iter().find_map(|(descriptor, name)| {
            Some((descriptor, path.strip_prefix(name).ok()?.to_owned()))
        });
        Self { granted }
    }

    fn open(&self, path: &Path, how: OpenFlags) -> io::Result<Descriptor> {
        let (granted, path) = self.resolve(path)?;
        let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
        granted.open_at(follow, &path, how, read).map_err(error)
    }

    fn stat(&self, path: &Path, links: PathFlags) -> io::Result<DescriptorStat> {
        let (granted, path) = self.resolve(path)?;
        granted.stat_at(links, &path).map_err(error)
    }

    /// The granted directory, and `path` relative to it.
    fn resolve(&self, path: &Path) -> io::Result<(&Descriptor, String)> {
        let (granted, below) = self.granted.as_ref().ok_or(ErrorKind::NotFound)?;
        let path = below.join(path).into_os_string().into_string();
        let path = path.map_err(|_| ErrorKind::InvalidFilename)?;
        Ok((granted, if path.is_empty() { ".".to_owned() } else { path }))
    }
}

impl Directory for WasiDirectory {
    type File = Zeroizing<Vec<u8>>;

    fn list(&self, path: &Path, limit: usize) -> io::Result<Listing> {
        let entries = self.open(path, OpenFlags::DIRECTORY)?.read_directory().map_err(error)?;
        let mut listing = Listing::default();
        for _ in 0..limit {
            match entries.read_directory_entry() {
                Ok(None) => break,
                Ok(Some(entry)) => listing.names.push(entry.name.into()),
                // The host looks up the type of each file: this one was removed before it did.
                Err(ErrorCode::NoEntry) => {}
                Err(ErrorCode::IllegalByteSequence) => listing.has_other_names = true,
                Err(code) => return Err(error(code)),
            }
        }
        Ok(listing)
    }

    fn read(&self, path: &Path) -> io::Result<Found<Self::File>> {
        let stat = self.stat(path, PathFlags::SYMLINK_FOLLOW)?;
        let is = |kind| stat.type_ == kind;
        let (is_directory, is_file) =
            (is(DescriptorType::Directory), is(DescriptorType::RegularFile));
        if let Some(found) = Found::unread(is_directory, is_file, stat.size) {
            return Ok(found);
        }
        let file = self.open(path, OpenFlags::empty())?;
        // The length of the file that is open: the link may lead to another file by now.
        let length = file.stat().map_err(error)?.size.min(MAX_FILE);
        // With room for everything: a vector that grows leaves copies in memory.
        let mut content = Zeroizing::new(Vec::with_capacity(length as usize));
        while (content.len() as u64) < length {
            let offset = content.len() as u64;
            let (bytes, _) = file.read(length - offset, offset).map_err(error)?;
            let bytes = Zeroizing::new(bytes);
            if bytes.is_empty() {
                break; // the file has become shorter
            }
            content.extend_from_slice(&bytes);
        }
        Ok(Found::File(content))
    }

    fn exists(&self, path: &Path) -> bool {
        self.stat(path, PathFlags::empty()).is_ok()
    }

    fn is_link(&self, path: &Path) -> bool {
        let found = self.stat(path, PathFlags::empty());
        found.is_ok_and(|found| found.type_ == DescriptorType::SymbolicLink)
    }
}

fn error(code: ErrorCode) -> Error {
    match code {
        ErrorCode::NoEntry => ErrorKind::NotFound.into(),
        ErrorCode::Access | ErrorCode::NotPermitted => ErrorKind::PermissionDenied.into(),
        code => Error::other(code.name()),
    }
}
