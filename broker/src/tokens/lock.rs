//! Allows only one login at a time while a client's key is tried.
//!
//! If a token reports that one more wrong PIN would lock it, the PIN of a client's key is not tried.
//! Two decoders that check at the same time would both find two tries left, and use both. So a process
//! that tries a client's PIN holds this lock exclusively, from the check to the end of the login.
//! Logins with the operator's PINs share the lock: they run at the same time as each other, but not at
//! the same time as a client's.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

/// The file's name, in the user's runtime directory.
const NAME: &str = "keycell-tokens.lock";

/// How long to wait for other logins.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before trying again.
const MOMENT: Duration = Duration::from_millis(5);

/// The lock, open but not held. There is one lock for all tokens: the token is known only after the
/// module is loaded, and then no file can be opened any more.
pub(super) struct LoginLock(Result<File, NoLock>);

/// Why the lock is not held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLock {
    #[error("`{}` cannot be opened: {why}", path.display())]
    NotOpen { path: PathBuf, why: io::ErrorKind },
    #[error("`{}` is not a file of this user", .0.display())]
    Foreign(PathBuf),
    #[error("other logins did not end within {} seconds", PATIENCE.as_secs())]
    Busy,
}

/// The lock is held until this value is dropped.
pub(super) struct Held<'a>(&'a File);

impl LoginLock {
    /// Opens the lock of this user. That of root is in `/run`, where nobody else can create a file.
    ///
    /// # Ambient Authority
    /// Creates a file.
    pub(super) fn open() -> Self {
        let user = geteuid();
        let directory = if user.is_root() {
            PathBuf::from("/run")
        } else {
            PathBuf::from(format!("/run/user/{}", user.as_raw()))
        };
        Self(open(&directory.join(NAME), user.as_raw()))
    }

    /// Shares the lock. It returns None if that fails: the operator's PIN is tried in any case.
    pub(super) fn share(&self) -> Option<Held<'_>> {
        self.hold(FlockOperation::NonBlockingLockShared).ok()
    }

    /// Holds the lock exclusively.
    ///
    /// # Errors
    /// Others hold the lock for too long, or it could not be opened.
    pub(super) fn take(&self) -> Result<Held<'_>, NoLock> {
        self.hold(FlockOperation::NonBlockingLockExclusive)
    }

    fn hold(&self, operation: FlockOperation) -> Result<Held<'_>, NoLock> {
        let file = self.0.as_ref().map_err(Clone::clone)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match flock(file, operation) {
                Ok(()) => return Ok(Held(file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(MOMENT);
                }
                Err(_) => return Err(NoLock::Busy),
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock); // the process releases it too when it ends, which is soon
    }
}

fn open(path: &Path, user: u32) -> Result<File, NoLock> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits() as i32)
        .open(path);
    let not_open = |error: io::Error| NoLock::NotOpen { path: path.to_owned(), why: error.kind() };
    let file = file.map_err(not_open)?;
    let found = file.metadata().map_err(not_open)?;
    if !found.is_file() || found.uid() != user {
        return Err(NoLock::Foreign(path.to_owned()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks() -> std::io::Result<(tempfile::TempDir, LoginLock, LoginLock)> {
        let dir = tempfile::tempdir()?;
        let open = || LoginLock(open(&dir.path().join(NAME), geteuid().as_raw()));
        let (one, other) = (open(), open());
        Ok((dir, one, other))
    }

    #[test]
    fn one_holds_it_alone_or_several_share_it() -> std::io::Result<()> {
        let (_dir, one, other) = locks()?;
        let taken = one.take();
        assert!(taken.is_ok() && other.take().is_err() && other.share().is_none());
        drop(taken);
        let shared = one.share();
        assert!(shared.is_some() && other.share().is_some());
        assert_eq!(other.take().err(), Some(NoLock::Busy));
        drop(shared);
        assert!(other.take().is_ok());
        Ok(())
    }

    #[test]
    fn what_is_no_file_of_this_user_is_no_lock() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join(NAME);
        std::fs::write(dir.path().join("elsewhere"), "")?;
        std::os::unix::fs::symlink("elsewhere", &path)?;
        assert!(matches!(open(&path, geteuid().as_raw()), Err(NoLock::NotOpen { .. })));
        let other = geteuid().as_raw() + 1;
        let foreign = open(&dir.path().join("elsewhere"), other);
        assert!(matches!(foreign, Err(NoLock::Foreign(_))));
        Ok(())
    }
}
