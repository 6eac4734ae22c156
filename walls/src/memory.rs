//! What other processes can read of the process's memory, and which resources it may use.

use std::fs::File;
use std::io::Read;
use std::ops::Range;

use rustix::mm::{MlockAllFlags, MlockFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::CapabilitySet;

use crate::error::{Error, failed};
use crate::wall::Extent;

/// The most memory that the process may write to, in bytes. A guest has at most 256 MiB, and the host
/// holds a few copies of what it passes to the guest. Memory that a guest only reserves does not count.
const DATA: u64 = 1 << 30;

/// The most descriptors while keys are unwrapped: as many handles as a guest may hold, and the host's
/// own.
const DESCRIPTORS: u64 = 1024 + 64;

/// The limit on descriptors while the layer flows: 0, 1 and 2. Open descriptors above them stay open,
/// and none can be added.
const NO_MORE_DESCRIPTORS: u64 = 3;

/// Disables core dumps, and keeps other processes of the same user from reading the memory or attaching
/// to the process. A change of user or of Linux capabilities can undo this: call it again afterwards.
///
/// # Errors
/// The kernel refuses it.
pub fn no_dump() -> Result<Extent, Error> {
    limit(Resource::Core, 0)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed("prctl"))?;
    Ok(Extent::NotDumpable)
}

/// Sets the limits while keys are unwrapped.
///
/// # Errors
/// The kernel refuses them.
pub fn limits() -> Result<Extent, Error> {
    limit(Resource::Data, DATA)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    Ok(Extent::Limits { mebibytes: DATA >> 20, descriptors: DESCRIPTORS })
}

/// Sets the limits while the layer flows: no descriptor can be added, and if `writes_files` is false,
/// no file can be written to.
///
/// # Errors
/// The kernel refuses them.
pub fn tighter_limits(writes_files: bool) -> Result<Extent, Error> {
    limit(Resource::Nofile, NO_MORE_DESCRIPTORS)?;
    if !writes_files {
        limit(Resource::Fsize, 0)?;
    }
    Ok(Extent::LayerLimits { writes_files })
}

/// Whether this machine has no swap, as most nodes of Kubernetes: no file, no partition and no
/// compressed memory (proc(5): `/proc/swaps` has one line for each, after a line of titles).
pub fn nothing_to_swap_to() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() == 1)
}

/// Keeps pages from being swapped out from the moment that they are used, including pages that are
/// mapped later.
///
/// Without `CAP_IPC_LOCK`, this requires the limit on locked memory to be infinite
/// (`LimitMEMLOCK=infinity`), since a guest reserves gigabytes of addresses of which it uses megabytes.
///
/// # Errors
/// What is missing for it.
pub fn no_swap() -> Result<Extent, Error> {
    // This succeeds as root of a node. If it is refused, the Linux capability is enough.
    let _ = rustix::process::setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let capabilities = rustix::thread::capabilities(None).map_err(failed("capget"))?;
    // Otherwise the kernel would allow it within the limit, and then refuse memory to the guest.
    if !capabilities.effective.contains(CapabilitySet::IPC_LOCK) && !no_swap_without_capability() {
        return Err(Error::LockLimit);
    }
    lock().map_err(|error| {
        let _ = rustix::mm::munlockall();
        Error::Lock(error)
    })?;
    Ok(Extent::PagesLocked)
}

/// Locks all pages that are mapped later, and the mapped pages that can be written to. The program's
/// own pages come from its file, and locking each of them takes longer than everything else.
fn lock() -> rustix::io::Result<()> {
    let later = MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    // The capacity is large enough for the whole file, because the kernel generates it while it is read
    // and reports no length.
    let mut mappings = String::with_capacity(16 * 1024);
    let maps = File::open("/proc/self/maps");
    if maps.and_then(|mut maps| maps.read_to_string(&mut mappings)).is_err() {
        return rustix::mm::mlockall(later | MlockAllFlags::CURRENT);
    }
    rustix::mm::mlockall(later)?;
    mappings.lines().filter_map(writable).try_for_each(lock_range)
}

/// The addresses of a line of `/proc/self/maps` (proc(5)), if they are those of private, writable
/// memory.
fn writable(line: &str) -> Option<Range<usize>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    (rest.starts_with("rw") && rest.get(3..4) == Some("p")).then_some(())?;
    Some(address(start)?..address(end)?)
}

#[expect(unsafe_code, reason = "memory is locked by its address")]
fn lock_range(range: Range<usize>) -> rustix::io::Result<()> {
    let start = std::ptr::without_provenance_mut(range.start);
    // SAFETY: nothing is read or written: the call only keeps pages in memory, whether they exist or
    // not.
    unsafe { rustix::mm::mlock_with(start, range.len(), MlockFlags::ONFAULT) }
}

/// Whether [`no_swap`] stays in force without `CAP_IPC_LOCK`, because there is no limit.
pub fn no_swap_without_capability() -> bool {
    rustix::process::getrlimit(Resource::Memlock).current.is_none()
}

/// Reverts [`no_swap`], for a process that is about to lose the right to lock more than its limit:
/// otherwise its stack could not grow any more, and the next deep call would end it.
///
/// # Errors
/// The kernel refuses it.
pub fn allow_swap() -> Result<(), Error> {
    rustix::mm::munlockall().map_err(failed("munlockall"))
}

/// Sets the soft and the hard limit, unless they are already lower.
fn limit(resource: Resource, most: u64) -> Result<(), Error> {
    let now = rustix::process::getrlimit(resource);
    let lower = |now: Option<u64>| Some(now.map_or(most, |now| now.min(most)));
    let new = Rlimit { current: lower(now.current), maximum: lower(now.maximum) };
    if new == now {
        return Ok(());
    }
    rustix::process::setrlimit(resource, new).map_err(failed("setrlimit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_memory_that_can_be_written_to_is_locked() {
        let range = writable("7ffe1000-7ffe3000 rw-p 00000000 00:00 0    [stack]");
        assert_eq!(range, Some(0x7ffe_1000..0x7ffe_3000));
        for line in [
            "55d0-55e0 r-xp 00001000 fe:00 42 /usr/bin/ctd-decoder",
            "55d0-55e0 r--p 00001000 fe:00 42 /usr/bin/rw-p",
            "55d0-55e0 rw-s 00001000 00:01 42 /memfd:shared",
            "55d0-55e0 ---p 00000000 00:00 0",
            "",
        ] {
            assert_eq!(writable(line), None, "{line}");
        }
    }
}
