//! The blobs of a content store: regular files that are named after their SHA-256, opened without
//! following a link and without waiting for one that is a pipe.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

/// Hexadecimal digits of a SHA-256.
pub(super) const DIGITS: usize = 64;

/// The name of a blob: 64 lower-case hexadecimal digits.
pub(super) type Digest = [u8; DIGITS];

/// Blobs that are looked at: a quarter of a million. Beyond it the directory's order decides.
const MOST: usize = 1 << 18;

/// How often the time is looked at, in blobs.
const OFTEN: usize = 256;

/// Where they lie in a content store.
const BELOW: &str = "blobs/sha256";

/// The blobs of a content store.
pub(super) struct Blobs {
    directory: OwnedFd,
    /// The store, as messages name it.
    pub(super) shown: String,
}

impl Blobs {
    /// Opens those of the content store at `store`.
    pub(super) fn open(store: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, store.join(BELOW), flags, Mode::empty())?;
        Ok(Self { directory, shown: store.display().to_string() })
    }

    /// How many blobs there are, and those of up to `most` bytes: the newest first, by the time at
    /// which containerd finished them.
    pub(super) fn newest_first(&self, most: u64, until: Instant) -> (usize, Vec<Digest>) {
        let mut total = 0;
        let mut found: Vec<((i64, u64), Digest)> = Vec::new();
        let Ok(entries) = Dir::read_from(&self.directory) else { return (0, Vec::new()) };
        for entry in entries.take(MOST) {
            let Ok(entry) = entry else { break };
            let Some(name) = digest(entry.file_name().to_bytes()) else { continue };
            if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
                continue;
            }
            total += 1;
            if total % OFTEN == 0 && Instant::now() > until {
                break;
            }
            let entry =
                rustix::fs::statat(&self.directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            let Ok(entry) = entry else { continue };
            let is_file = FileType::from_raw_mode(entry.st_mode) == FileType::RegularFile;
            if is_file && u64::try_from(entry.st_size).is_ok_and(|size| size <= most) {
                found.push(((entry.st_mtime, entry.st_mtime_nsec), name));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        (total, found.into_iter().map(|(_, name)| name).collect())
    }

    /// The blob of this name and its size, unless it is no regular file.
    pub(super) fn file(&self, name: &Digest) -> io::Result<Option<(File, u64)>> {
        // Not blocking: a pipe would wait for a writer. The name has no slash.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let name = std::str::from_utf8(name).map_err(io::Error::other)?;
        let entry = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(entry.st_mode) != FileType::RegularFile {
            return Ok(None); // opening a device can be an act of its own
        }
        let file = File::from(rustix::fs::openat(&self.directory, name, flags, Mode::empty())?);
        let found = file.metadata()?;
        Ok(found.is_file().then_some((file, found.len())))
    }

    /// The blob at its first byte, if it begins with `beginning`, or, where that is the `whole`
    /// layer, is equal to it.
    pub(super) fn begins_with(
        &self,
        name: &Digest,
        beginning: &[u8],
        whole: bool,
    ) -> io::Result<Option<(File, u64)>> {
        let Some((mut file, size)) = self.file(name)? else { return Ok(None) };
        let length = beginning.len() as u64;
        if size < length || (whole && size != length) {
            return Ok(None);
        }
        let mut bytes = vec![0; beginning.len()];
        let equal = fill(&mut file, &mut bytes)? == bytes.len() && bytes == beginning;
        file.rewind()?;
        Ok(equal.then_some((file, size)))
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

/// Whether a blob can have this name.
pub(super) fn is_digest(name: &[u8]) -> bool {
    name.len() == DIGITS && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn digest(name: &[u8]) -> Option<Digest> {
    name.try_into().ok().filter(|name: &Digest| is_digest(name))
}
