//! The walk through a keys directory.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use zeroize::Zeroizing;

use super::{PASSWORD_SUFFIXES, PassedOver};
use crate::tokens::FileIdentity;

/// A larger file is no key: 1 MiB, as in the guest.
const MAX_FILE: u64 = 1024 * 1024;

/// What all files hold together, in bytes: 32 MiB, as much as a ring takes.
pub(super) const MAX_FILES: usize = 32 * 1024 * 1024;

/// Files and directories that are looked at, as in the guest.
pub(super) const MAX_ENTRIES: usize = 16_384;

/// Directories in directories; links can form a ring.
const MAX_DEPTH: usize = 8;

/// How often is looked again at what was just there, as in the guest: a mounted Secret is exchanged
/// by a link that changes, and what it led to is removed at once.
const EXCHANGES: usize = 16;

/// Everything in `path`, a directory or one file.
///
/// # Errors
/// Where `path` itself cannot be read.
///
/// # Ambient Authority
/// Opens `path` with the rights of this process.
pub(super) fn read(path: &Path) -> io::Result<Vec<Seen>> {
    let mut walk = Walk::default();
    if path.is_dir() {
        let directory = Dir::open_ambient_dir(path, ambient_authority())?;
        walk.directory(&directory, Path::new("."), "", 0);
    } else {
        walk.single(path)?;
    }
    Ok(walk.seen)
}

/// Something in the keys directory.
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) found: Result<File, PassedOver>,
}

/// A file that was read.
pub(super) struct File {
    pub(super) content: Zeroizing<Vec<u8>>,
    pub(super) identity: FileIdentity,
}

#[derive(Default)]
struct Walk {
    seen: Vec<Seen>,
    entries: usize,
    bytes: usize,
}

impl Walk {
    /// One key file, and its password. The operator named this very file, so a link may lead
    /// anywhere.
    fn single(&mut self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
        self.add(&name, read_file(std::fs::File::open(path)?)?);
        for suffix in PASSWORD_SUFFIXES {
            let mut beside = path.as_os_str().to_owned();
            beside.push(suffix);
            if let Ok(content) = std::fs::File::open(beside).and_then(read_file) {
                self.add(&format!("{name}{suffix}"), content);
            }
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Dir, path: &Path, shown: &str, depth: usize) {
        let list = || -> io::Result<Vec<_>> {
            let entries = directory.read_dir(path)?.take(MAX_ENTRIES + 1).flatten();
            Ok(entries.map(|entry| entry.file_name()).collect())
        };
        let mut names = match again(directory, path, list) {
            Ok(names) => names,
            Err(error) => return self.skip(shown, PassedOver::Unreadable(error)),
        };
        names.sort();
        for name in names {
            let text = name.to_string_lossy();
            // `..data` and `..2026_11_23_…` of a mounted Secret: its keys are links into them.
            if text.starts_with("..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.skip(shown, PassedOver::TooMany);
            }
            let shown = if shown.is_empty() { text.to_string() } else { format!("{shown}/{text}") };
            self.entry(directory, &path.join(&name), &shown, depth);
        }
    }

    fn entry(&mut self, directory: &Dir, path: &Path, shown: &str, depth: usize) {
        match again(directory, path, || look(directory, path)) {
            Ok(Found::Directory) if depth < MAX_DEPTH => {
                self.directory(directory, path, shown, depth + 1);
            }
            Ok(Found::Directory) => self.skip(shown, PassedOver::Deep),
            Ok(Found::Special) => self.skip(shown, PassedOver::Special),
            Ok(Found::Large) => self.skip(shown, PassedOver::Large),
            Ok(Found::File(file)) => self.add(shown, file),
            Err(error) if is_link(directory, path) => match error.kind() {
                io::ErrorKind::PermissionDenied => self.skip(shown, PassedOver::LeavingLink),
                _ => self.skip(shown, PassedOver::DeadLink),
            },
            Err(error) => self.skip(shown, PassedOver::Unreadable(error)),
        }
    }

    fn add(&mut self, name: &str, file: File) {
        let together = self.bytes.saturating_add(file.content.len());
        if together > MAX_FILES {
            return self.skip(name, PassedOver::TooMuch);
        }
        self.bytes = together;
        self.seen.push(Seen { name: name.to_owned(), found: Ok(file) });
    }

    fn skip(&mut self, shown: &str, why: PassedOver) {
        let name = if shown.is_empty() { "the keys directory" } else { shown }.to_owned();
        self.seen.push(Seen { name, found: Err(why) });
    }
}

/// Does it again where what `path` leads to has vanished on the way: at most [`EXCHANGES`] times.
fn again<T>(
    directory: &Dir,
    path: &Path,
    mut work: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut done = work();
    for _ in 0..EXCHANGES {
        match &done {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_there(directory, path) => {
                done = work();
            }
            _ => break,
        }
    }
    done
}

enum Found {
    Directory,
    Special,
    Large,
    File(File),
}

fn look(directory: &Dir, path: &Path) -> io::Result<Found> {
    // Before it is opened: opening a pipe would wait for a writer.
    let found = directory.metadata(path)?;
    Ok(if found.is_dir() {
        Found::Directory
    } else if !found.is_file() {
        Found::Special
    } else if found.len() > MAX_FILE {
        Found::Large
    } else {
        Found::File(read_file(directory.open(path)?.into_std())?)
    })
}

/// With room for all of it: a vector that grows leaves copies behind.
fn read_file(file: std::fs::File) -> io::Result<File> {
    let metadata = file.metadata()?;
    let (length, identity) = (metadata.len(), (metadata.dev(), metadata.ino()));
    if length > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(length).read_to_end(&mut content)?;
    Ok(File { content, identity })
}

/// Whether there is something of this name, be it a link that leads nowhere.
fn is_there(directory: &Dir, path: &Path) -> bool {
    directory.symlink_metadata(path).is_ok()
}

fn is_link(directory: &Dir, path: &Path) -> bool {
    directory.symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}
