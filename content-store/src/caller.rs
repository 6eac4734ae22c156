//! The containerd that calls: a process that holds its metadata open.
//!
//! Who could make a decoder look into a store of their own? Only an ancestor of the decoder is looked
//! at, and only if it already has the rights that the decoder has. A process is believed if
//!
//! - it runs as root or as the decoder's own user, with its real, effective and saved user. The search
//!   ends at the first ancestor that does not, because that one decides what runs below it: a user who
//!   may start the decoder with `sudo` does not choose its store;
//! - its executable and the metadata file belong to root or to the decoder's own user;
//! - the file's path ends in `/io.containerd.metadata.v1.bolt/meta.db`, without links, and leads to the
//!   same file that the process holds open. A file that was removed or replaced is not used.
//!
//! In a user namespace without the host's root (rootless containerd), the files of the host's root have
//! the kernel's overflow user as their owner. There an executable of that owner is accepted, because
//! the process runs as the user who owns the namespace, and can do everything that the decoder can.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::BELOW_ROOT;
use crate::error::Unknown;
use crate::process::Process;

/// containerd's metadata, below its root.
const METADATA: &str = "io.containerd.metadata.v1.bolt/meta.db";

/// The most processes that are looked at: the caller and its ancestors. A processor can be a script
/// that starts the decoder, with a few programs in between.
const MOST: usize = 8;

/// The containerd that calls.
#[derive(Debug)]
pub struct Caller {
    /// Its process id.
    pub pid: Pid,
    pub(crate) roots: Vec<Root>,
}

impl Caller {
    /// Its roots, as it names them. Normally there is one.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.path.as_path())
    }
}

/// A root directory that a containerd uses.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) pid: Pid,
    pub(crate) path: PathBuf,
    pub(crate) directory: OwnedFd,
    /// Whether the process has other mounts or another root than this one.
    pub(crate) is_elsewhere: bool,
}

impl Root {
    /// The path of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join(BELOW_ROOT)
    }
}

/// Looks at the process `pid` and at its ancestors until one of them is a containerd.
pub(crate) fn find(pid: Pid) -> Result<Caller, Unknown> {
    let trust = Trust::of_this_process();
    let mut looked_at = Vec::new();
    let mut next = Some(pid);
    while let Some(pid) = next
        && looked_at.len() < MOST
    {
        let Ok(process) = Process::open(pid) else { break };
        if !process.users.iter().all(|uid| trust.allows(*uid)) {
            return Err(Unknown::OtherUser { process: process.named });
        }
        let roots = roots(&process, pid, trust)?;
        if !roots.is_empty() {
            return Ok(Caller { pid, roots });
        }
        next = process.parent;
        looked_at.push(process.named);
    }
    match looked_at.is_empty() {
        true => Err(Unknown::NoProcess),
        false => Err(Unknown::NoMetadata { looked_at }),
    }
}

/// The roots whose metadata the process holds open.
fn roots(process: &Process, pid: Pid, trust: Trust) -> Result<Vec<Root>, Unknown> {
    let unreadable = |error: io::Error| Unknown::Unreadable {
        process: process.named.clone(),
        errno: error.raw_os_error().unwrap_or_default(),
    };
    let mut roots: Vec<Root> = Vec::new();
    for (number, path) in process.open_files().map_err(unreadable)? {
        let Some(root) = root_of(&path) else { continue };
        if roots.iter().any(|known| known.path == root) {
            continue;
        }
        let uid = process.executable_owner().map_err(unreadable)?;
        if !trust.allows_executable(uid) {
            return Err(Unknown::Executable { process: process.named.clone(), uid });
        }
        // The descriptor was closed meanwhile.
        let Ok(found) = process.open_file(&number) else { continue };
        if !trust.allows(found.st_uid) {
            return Err(Unknown::Metadata { path, uid: found.st_uid });
        }
        let opened = open_root(process, root, &found).map_err(unreadable)?;
        let Some((directory, is_elsewhere)) = opened else { return Err(Unknown::Moved { path }) };
        roots.push(Root { pid, path: root.to_owned(), directory, is_elsewhere });
    }
    Ok(roots)
}

/// The root of the containerd that has this file as its metadata.
fn root_of(metadata: &Path) -> Option<&Path> {
    // The kernel appends ` (deleted)` to the name of a file that was removed.
    let root = metadata.ends_with(METADATA).then(|| metadata.ancestors().nth(2))??;
    root.is_absolute().then_some(root)
}

/// Opens the root, and whether the process has other mounts. `None` if its metadata is another file.
fn open_root(
    process: &Process,
    path: &Path,
    metadata: &Stat,
) -> io::Result<Option<(OwnedFd, bool)>> {
    let (root, is_elsewhere) = process.root()?;
    for (start, is_elsewhere) in [(root, is_elsewhere), (own_root()?, false)] {
        match descend(start, path) {
            Ok(directory) if is_metadata(&directory, metadata)? => {
                return Ok(Some((directory, is_elsewhere)));
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn own_root() -> io::Result<OwnedFd> {
    Ok(openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a directory below `start`. The kernel shows paths without links, so none is followed.
fn descend(start: OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = start;
    for component in path.components() {
        if let Component::Normal(name) = component {
            directory = openat(&directory, name, flags, Mode::empty())?;
        }
    }
    Ok(directory)
}

/// Whether the metadata in this root is the file with this status.
fn is_metadata(root: &OwnedFd, metadata: &Stat) -> io::Result<bool> {
    match statat(root, METADATA, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && (found.st_dev, found.st_ino) == (metadata.st_dev, metadata.st_ino)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whom this process believes: root, and its own user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    own: u32,
}

impl Trust {
    pub(crate) fn of_this_process() -> Self {
        Self { own: rustix::process::geteuid().as_raw() }
    }

    pub(crate) fn allows(self, uid: u32) -> bool {
        uid == 0 || uid == self.own
    }

    fn allows_executable(self, uid: u32) -> bool {
        self.allows(uid) || Some(uid) == overflow_user()
    }
}

/// The owner that files of the host's root seem to have, where this process is in a user namespace
/// that does not have all users.
fn overflow_user() -> Option<u32> {
    const ALL: u64 = u32::MAX as u64;
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let count = |line: &str| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok();
    let has_all = map.lines().filter_map(count).sum::<u64>() >= ALL;
    let user = fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?;
    user.trim().parse().ok().filter(|_| !has_all)
}
