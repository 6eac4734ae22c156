//! A content store that is open.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::caller::Root;
use crate::{BELOW_ROOT, PlacesError};

/// How a store was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This process, a containerd, uses it.
    Caller {
        /// Its process id.
        pid: Pid,
    },
    /// `--content-store` names it.
    Configured,
    /// It is at a usual place.
    Usual,
}

/// A content store.
#[derive(Debug)]
pub struct Store {
    /// How it was found.
    pub origin: Origin,
    /// Its path. In another mount namespace, this is the path that the containerd there has for it.
    pub path: PathBuf,
    directory: OwnedFd,
    found: Stat,
}

impl Store {
    /// The directory, which holds `blobs`.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens the store at `path`; `None` if there is none.
    pub(crate) fn at(path: &Path, origin: Origin) -> Result<Option<Self>, PlacesError> {
        Self::open(CWD, path, OFlags::empty(), path, origin)
    }

    /// Opens the store of the containerd that calls; `None` if it has none.
    pub(crate) fn of_caller(root: &Root) -> Result<Option<Self>, PlacesError> {
        let origin = Origin::Caller { pid: root.pid };
        // A link leads to the right place only where it has the same meaning for both processes.
        let links = if root.is_elsewhere { OFlags::NOFOLLOW } else { OFlags::empty() };
        Self::open(&root.directory, Path::new(BELOW_ROOT), links, &root.store(), origin)
    }

    fn open(
        at: impl AsFd,
        name: &Path,
        links: OFlags,
        path: &Path,
        origin: Origin,
    ) -> Result<Option<Self>, PlacesError> {
        let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(at, name, OFlags::PATH | directory | links, Mode::empty());
        let opened = opened.and_then(|opened| {
            // A directory without blobs is no store.
            openat(&opened, "blobs/sha256", OFlags::RDONLY | directory, Mode::empty())?;
            let found = fstat(&opened)?;
            Ok(Self { origin, path: path.to_owned(), directory: opened, found })
        });
        match opened {
            Ok(store) => Ok(Some(store)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            // A store that cannot be read may hold the right manifest.
            Err(error) => {
                Err(PlacesError::Closed { path: path.to_owned(), error: io::Error::from(error) })
            }
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.found.st_dev == other.found.st_dev && self.found.st_ino == other.found.st_ino
    }
}
