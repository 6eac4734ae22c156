//! Whether nobody but root and the user of this process can change what lies at a path.
//!
//! Files that decide which code runs, or whom this process trusts, are opened through this crate.
//! It follows a path one component at a time, links included. Every directory, link and file on the
//! way must belong to root or to the user of this process, and nobody else may be able to write to
//! it: whoever can write to a directory can put another file in the place of the one in it.
//!
//! Everybody may write to a directory on the way if it is sticky, as `/tmp` is: only the owner of
//! an entry can remove or rename it there, and the owner of the entry is checked as well.
//!
//! After the check, only those trusted users can make the path lead elsewhere. So it is safe to use
//! the path again, as `execve` and `dlopen` must.

#![forbid(unsafe_code)]

mod error;

#[cfg(test)]
mod tests;

use error::is_missing;
pub use error::{Error, Kind, Word};

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

/// Links that are followed at most, as in the kernel.
const MAX_LINKS: usize = 40;

/// The bits of a mode that let the group and everybody write.
const OTHERS_WRITE: u32 = 0o022;

/// The bit of a directory's mode that lets only owners remove and rename its entries.
const STICKY: u32 = 0o1000;

/// Whom this process trusts: root, and its own user.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    own: u32,
}

/// Something whose path was checked.
#[derive(Debug)]
pub struct Place {
    /// Its path, without links.
    pub path: PathBuf,
    kind: FileType,
    parent: OwnedFd,
    name: OsString,
}

impl Trust {
    /// Trusts root and the effective user of this process, as it is now.
    pub fn of_this_process() -> Self {
        Self { own: rustix::process::geteuid().as_raw() }
    }

    /// Trusts root alone: for what another process executes as root.
    pub fn of_root() -> Self {
        Self { own: 0 }
    }

    /// Opens a regular file for reading, and checks the open file, too.
    ///
    /// # Errors
    /// [`Error::is_missing`] where there is no such file. Otherwise a component of the path that
    /// others can change, what is no regular file, or what cannot be read.
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn open_file(self, path: &Path) -> Result<File, Error> {
        let place = self.check(path)?;
        // Before it is opened, because opening a device or a pipe may do something.
        if place.kind != FileType::RegularFile {
            return Err(Error::NotRegular { path: place.path });
        }
        let (file, found) = place.open(OFlags::NONBLOCK)?;
        self.allow(&place.path, &found)?;
        Ok(File::from(file))
    }

    /// Opens a directory, in which nobody else may make entries either: a sticky one is refused.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn open_directory(self, path: &Path) -> Result<(OwnedFd, PathBuf), Error> {
        let place = self.check(path)?;
        let (directory, found) = place.open(OFlags::DIRECTORY)?;
        self.allow(&place.path, &found)?;
        if found.st_mode & OTHERS_WRITE != 0 {
            return Err(Error::Writable { path: place.path, mode: found.st_mode & 0o7777 });
        }
        Ok((directory, place.path))
    }

    /// Checks every component of `path`. Where nothing lies there, nobody could have changed it, and
    /// that is the answer whoever can write to the directories above.
    ///
    /// # Errors
    /// The first component that others can change, or that is not there.
    ///
    /// # Ambient Authority
    /// Looks at `path` with the rights of this process.
    pub fn check(self, path: &Path) -> Result<Place, Error> {
        let unreadable = |error| Error::Unreadable { path: path.to_owned(), error };
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        self.walk(&absolute).map_err(|error| match std::fs::metadata(&absolute) {
            Err(missing) if is_missing(&missing) => unreadable(missing),
            _ => error,
        })
    }

    fn walk(self, absolute: &Path) -> Result<Place, Error> {
        // What is left of the path, with the next component last.
        let mut rest = components(absolute);
        let mut directory = Directory::open(CWD, OsStr::new("/"), PathBuf::from("/"))?;
        self.allow(&directory.path, &directory.found)?;
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == "/" || name == ".." {
                let parent = directory.path.parent().filter(|_| name == "..");
                let path = parent.unwrap_or(Path::new("/")).to_owned();
                directory = Directory::open(&directory.descriptor, &name, path)?;
                continue;
            }
            let path = directory.path.join(&name);
            let (entry, found) = directory.look(&name, &path, !rest.is_empty())?;
            self.allow(&path, &found)?;
            match Kind::of(&found) {
                Kind::Link => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::unreadable(&path, Errno::LOOP));
                    }
                    let target = readlinkat(&entry, "", Vec::new());
                    let target = target.map_err(|error| Error::unreadable(&path, error))?;
                    rest.extend(components(Path::new(OsStr::from_bytes(target.as_bytes()))));
                }
                _ if rest.is_empty() => {
                    let kind = FileType::from_raw_mode(found.st_mode);
                    return Ok(Place { path, kind, parent: directory.descriptor, name });
                }
                Kind::Directory => directory = Directory { descriptor: entry, found, path },
                Kind::File => return Err(Error::unreadable(&path, Errno::NOTDIR)),
            }
        }
        let Directory { descriptor, path, .. } = directory;
        Ok(Place { path, kind: FileType::Directory, parent: descriptor, name: ".".into() })
    }

    /// Checks the owner and the mode of one component that was looked at already. A sticky directory
    /// passes, because the entries in it are checked themselves.
    ///
    /// # Errors
    /// Who else can change it.
    pub fn allow(self, path: &Path, found: &Stat) -> Result<(), Error> {
        let kind = Kind::of(found);
        if found.st_uid != 0 && found.st_uid != self.own {
            return Err(Error::Owner { path: path.to_owned(), uid: found.st_uid, kind });
        }
        let is_sticky = kind == Kind::Directory && found.st_mode & STICKY != 0;
        // The mode of a link means nothing.
        if kind != Kind::Link && found.st_mode & OTHERS_WRITE != 0 && !is_sticky {
            return Err(Error::Writable { path: path.to_owned(), mode: found.st_mode & 0o7777 });
        }
        Ok(())
    }
}

impl Place {
    fn open(&self, flags: OFlags) -> Result<(OwnedFd, Stat), Error> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        open(&self.parent, &self.name, flags).map_err(|error| Error::unreadable(&self.path, error))
    }
}

/// A directory on the way.
struct Directory {
    descriptor: OwnedFd,
    found: Stat,
    path: PathBuf,
}

impl Directory {
    /// `/` or `..`: every path begins at the one, and has come through the other.
    fn open(at: impl AsFd, name: &OsStr, path: PathBuf) -> Result<Self, Error> {
        let opened = open(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC);
        let (descriptor, found) = opened.map_err(|error| Error::unreadable(&path, error))?;
        Ok(Self { descriptor, found, path })
    }

    /// An entry, without following a link. If it is not the last component, it is opened as a
    /// directory where it is one, because that mounts what an automounter mounts.
    fn look(&self, name: &OsStr, path: &Path, goes_on: bool) -> Result<(OwnedFd, Stat), Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match goes_on {
            true => open(&self.descriptor, name, flags | OFlags::DIRECTORY),
            false => Err(Errno::NOTDIR),
        };
        let found = match found {
            Err(Errno::NOTDIR) => open(&self.descriptor, name, flags),
            found => found,
        };
        found.map_err(|error| Error::unreadable(path, error))
    }
}

fn open(at: impl AsFd, name: &OsStr, flags: OFlags) -> rustix::io::Result<(OwnedFd, Stat)> {
    let descriptor = openat(at, name, flags, Mode::empty())?;
    let found = fstat(&descriptor)?;
    Ok((descriptor, found))
}

/// The components of a path, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let components = path.components().filter(|component| *component != Component::CurDir);
    components.rev().map(|component| component.as_os_str().to_owned()).collect()
}
