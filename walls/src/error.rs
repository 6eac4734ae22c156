//! Why a wall is not up.

use std::io;
use std::path::PathBuf;

use keycell_diagnostic::os_error;
use rustix::io::Errno;

/// Why a wall is not up, or the process cannot become another user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{}", text(*.error))]
    SystemCall {
        /// Its name in the manual.
        name: &'static str,
        /// How it failed.
        error: Errno,
    },
    /// Pages are not locked: the limit is too low, and the process may not exceed it.
    #[error("the limit on locked memory is too low: {RIGHT_TO_LOCK}")]
    LockLimit,
    /// Pages are not locked: `mlockall` or `mlock2` failed.
    #[error("{}: {RIGHT_TO_LOCK}", text(*.0))]
    Lock(Errno),
    /// From [`probe()`](crate::probe()): pages could not be locked.
    #[error("{RIGHT_TO_LOCK}")]
    NoRightToLock,
    /// Pages were locked in the first phase, but not in the second.
    #[error(
        "locked until keys were unwrapped: set `LimitMEMLOCK=infinity` for containerd's service"
    )]
    Unlocked,
    /// A path that must stay reachable cannot be opened.
    #[error("cannot open `{}`: {}", .path.display(), text(*.error))]
    Open {
        /// The path.
        path: PathBuf,
        /// How that failed.
        error: Errno,
    },
    /// The kernel has Landlock, but it is disabled.
    #[error(
        "the kernel has Landlock, but it was not enabled at boot: add `landlock` to the parameter \
         `lsm=`"
    )]
    LandlockNotEnabled,
    /// The kernel has no Landlock.
    #[error(
        "this kernel has no Landlock, or a container's filter hides it: it came with Linux 5.13, \
         `CONFIG_SECURITY_LANDLOCK`"
    )]
    LandlockNotImplemented,
    /// The kernel has Landlock, but does not enforce it.
    #[error("the kernel does not enforce it")]
    LandlockNotEnforced,
    /// Landlock rejects a rule.
    #[error("{0}")]
    LandlockRule(String),
    /// From [`probe()`](crate::probe()): the kernel has no syscall filters.
    #[error("this kernel takes no filter of system calls: it needs `CONFIG_SECCOMP_FILTER`")]
    NoFilters,
    /// The kernel refuses the syscall filter.
    #[error("this kernel takes no filter of system calls: {}", text(*.0))]
    Filter(Errno),
    /// Another thread has its own syscall filter.
    #[error("this kernel takes no filter of system calls: thread {0} has another one")]
    OtherFilter(i64),
    /// There are no syscall filters for this architecture.
    #[error("there are no filters for this architecture")]
    Architecture,
}

/// How to get the right to lock pages.
const RIGHT_TO_LOCK: &str = "run as root, or set `LimitMEMLOCK=infinity` for containerd's service";

/// Turns the failure of a system call into an error.
pub(crate) fn failed(name: &'static str) -> impl Fn(Errno) -> Error {
    move |error| Error::SystemCall { name, error }
}

fn text(error: Errno) -> String {
    os_error(&io::Error::from(error))
}
