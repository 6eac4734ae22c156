//! The blobs of a content store: regular files that are named after their digest. They are opened
//! without following symbolic links, and without waiting if a file is a pipe.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use keycell_content_store::Store;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::digest::{ALGORITHMS, Digest};
use super::error::Bound;

/// The most blobs that are looked at in a store: 262,144.
const MOST: usize = 1 << 18;

/// The time is checked once per this number of blobs.
const OFTEN: usize = 256;

/// The blobs of a content store.
pub(super) struct Blobs {
    /// A directory for each algorithm.
    directories: Vec<(&'static str, OwnedFd)>,
    /// The store, as messages name it.
    pub(super) path: PathBuf,
}

/// The content of a store.
#[derive(Default)]
pub(super) struct Listing {
    /// How many blobs there are.
    pub(super) total: usize,
    /// Blobs that are small enough to be a manifest: the newest first, by the time at which containerd
    /// finished them.
    pub(super) small: Vec<Digest>,
    /// The bound that stopped the listing, if there may be more blobs.
    pub(super) stopped: Option<Bound>,
}

impl Blobs {
    /// Opens the blobs of the content store `store`.
    pub(super) fn open(store: &Store) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let blobs = Path::new("blobs");
        let mut directories = Vec::new();
        for (algorithm, _) in ALGORITHMS {
            match rustix::fs::openat(store.directory(), blobs.join(algorithm), flags, Mode::empty())
            {
                Ok(directory) => directories.push((algorithm, directory)),
                Err(rustix::io::Errno::NOENT) if algorithm != "sha256" => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { directories, path: store.path.clone() })
    }

    /// Lists the store, with the blobs of up to `most` bytes.
    pub(super) fn list(&self, most: u64, until: Instant) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let mut found: Vec<((i64, u64), Digest)> = Vec::new();
        for (algorithm, directory) in &self.directories {
            for entry in Dir::read_from(directory)? {
                let entry = entry?;
                let Some(name) = Digest::of_file(algorithm, entry.file_name().to_bytes()) else {
                    continue;
                };
                if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
                    continue;
                }
                listing.total += 1;
                if listing.total > MOST {
                    listing.stopped = Some(Bound::Blobs);
                    return Ok(listing);
                }
                if listing.total % OFTEN == 0 && Instant::now() > until {
                    listing.stopped = Some(Bound::Time);
                    return Ok(listing);
                }
                let Some(entry) = stat(directory, entry.file_name())? else { continue };
                let is_file = FileType::from_raw_mode(entry.st_mode) == FileType::RegularFile;
                if is_file && u64::try_from(entry.st_size).is_ok_and(|size| size <= most) {
                    found.push(((entry.st_mtime, entry.st_mtime_nsec), name));
                }
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        listing.small = found.into_iter().map(|(_, name)| name).collect();
        Ok(listing)
    }

    /// The blob of this name and its size; `None` if there is none, or if it is not a regular file.
    pub(super) fn file(&self, name: &Digest) -> io::Result<Option<(File, u64)>> {
        let (algorithm, digits) = name.parts();
        let Some((_, directory)) = self.directories.iter().find(|(name, _)| *name == algorithm)
        else {
            return Ok(None);
        };
        // The type is checked first, because opening a device may have an effect.
        let Some(entry) = stat(directory, digits)? else { return Ok(None) };
        if FileType::from_raw_mode(entry.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        // The flags prevent blocking, because opening a pipe would wait for a writer. The name has no
        // slash.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, digits, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata()?;
        Ok(found.is_file().then_some((file, found.len())))
    }

    /// Compares the blob with `beginning`: the blob must begin with it, or be equal to it if it is the
    /// `whole` layer.
    pub(super) fn begins_with(
        &self,
        name: &Digest,
        beginning: &[u8],
        whole: bool,
    ) -> io::Result<Comparison> {
        let Some((mut file, size)) = self.file(name)? else { return Ok(Comparison::Absent) };
        let length = beginning.len() as u64;
        if size < length || (whole && size != length) {
            return Ok(Comparison::Different);
        }
        let mut bytes = vec![0; beginning.len()];
        let equal = fill(&mut file, &mut bytes)? == bytes.len() && bytes == beginning;
        Ok(if equal { Comparison::Equal(size) } else { Comparison::Different })
    }
}

/// The result of comparing a blob with the layer.
pub(super) enum Comparison {
    /// There is no such blob.
    Absent,
    /// It begins differently.
    Different,
    /// It begins as the layer does, and has this size in bytes.
    Equal(u64),
}

/// The status of the file with this name; `None` if it does not exist any more.
fn stat(directory: &OwnedFd, name: impl rustix::path::Arg) -> io::Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads until `buffer` is full, or to the end.
pub(super) fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
