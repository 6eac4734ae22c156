//! What can be read of the process's memory from outside, and what it may use up.

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::plain;

/// Memory that the process may write to, in bytes: a guest has 256 MiB at most, and what it is
/// handed is held a few times over by the host. What a guest only reserves does not count.
const DATA: u64 = 1 << 30;

/// Descriptors while keys are unwrapped: as many handles as a guest may hold, and the host's own.
const DESCRIPTORS: u64 = 1024 + 64;

/// Descriptors while the layer flows: 0, 1 and 2. Those above stay open, and none can be added.
const NO_MORE_DESCRIPTORS: u64 = 3;

/// No core dump, and no other process of the same user reads the memory or attaches to the
/// process. A change of user or of capabilities can take this back: call it again after those.
///
/// # Errors
/// Where the kernel refuses it.
pub fn no_dump() -> Result<String, String> {
    limit(Resource::Core, 0)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(plain)?;
    Ok("nobody but root reads it, and a crash leaves nothing".to_owned())
}

/// The limits while keys are unwrapped.
///
/// # Errors
/// Where the kernel refuses them.
pub fn limits() -> Result<String, String> {
    limit(Resource::Data, DATA)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    Ok(format!("{} MiB of memory, {DESCRIPTORS} descriptors", DATA >> 20))
}

/// The limits while the layer flows: no descriptor can be added, and where `writes_files` is
/// false, no file can be written to.
///
/// # Errors
/// Where the kernel refuses them.
pub fn tighter_limits(writes_files: bool) -> Result<String, String> {
    limit(Resource::Nofile, NO_MORE_DESCRIPTORS)?;
    if writes_files {
        return Ok("no further descriptor".to_owned());
    }
    limit(Resource::Fsize, 0)?;
    Ok("no further descriptor, no byte into a file".to_owned())
}

/// Pages are not swapped out from the moment that they are used, those that come later included.
///
/// Without `CAP_IPC_LOCK` that needs a limit on locked memory (`LimitMEMLOCK=infinity`), since a
/// guest reserves gigabytes of addresses of which it uses megabytes.
///
/// # Errors
/// What is missing for it.
pub fn no_swap() -> Result<String, String> {
    // As root of a node; where it is refused, the capability is enough.
    let _ = rustix::process::setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(all).map_err(|error| {
        format!(
            "{}: run as root, or set `LimitMEMLOCK=infinity` for containerd's service",
            plain(error)
        )
    })?;
    Ok("all pages stay in memory".to_owned())
}

/// Whether [`no_swap`] outlives `CAP_IPC_LOCK`: there is no limit.
pub fn no_swap_without_capability() -> bool {
    rustix::process::getrlimit(Resource::Memlock).current.is_none()
}

/// Takes [`no_swap`] back, for a process that is about to lose the right to lock more than its
/// limit: its stack could not grow any more, and the next deep call would be its last.
///
/// # Errors
/// Always, with the reason, as the state of the wall.
pub fn swap_again() -> Result<String, String> {
    rustix::mm::munlockall().map_err(plain)?;
    Err("locked until keys were unwrapped: set `LimitMEMLOCK=infinity` for containerd's service"
        .to_owned())
}

/// Sets both limits, or leaves them where they are lower.
fn limit(resource: Resource, most: u64) -> Result<(), String> {
    let now = rustix::process::getrlimit(resource);
    let lower = |now: Option<u64>| Some(now.map_or(most, |now| now.min(most)));
    let new = Rlimit { current: lower(now.current), maximum: lower(now.maximum) };
    if new == now {
        return Ok(());
    }
    rustix::process::setrlimit(resource, new).map_err(plain)
}
