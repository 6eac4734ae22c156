//! The limits that the caller has set on this process: `Limit…=` of containerd's service.
//!
//! Limits that the original can live with, and a sandbox cannot, are raised where this process has the
//! right to, before any guest runs. Where it has not, what is said of a failure depends on them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The addresses that a run needs, in bytes. The memory of a guest reserves 4 GiB of them and guards
/// around it, and uses megabytes: so its code needs no comparisons.
pub const ADDRESSES: u64 = 5 << 30;

/// The stack that a run may use, in bytes: Linux's default.
const STACK: u64 = 8 << 20;

/// Less than this may be too little, in bytes.
const SMALL_STACK: u64 = 1 << 20;

/// The descriptors that a run may use, as far as this program chooses.
const DESCRIPTORS: u64 = 64;

/// Without a payload, broker, log and spool, a run needs this many.
const FEWEST_DESCRIPTORS: u64 = 8;

/// The limit on addresses, where it is too low.
static TOO_FEW_ADDRESSES: AtomicU64 = AtomicU64::new(u64::MAX);

/// Whether a crash may be the fault of a limit.
static CAN_CRASH: AtomicBool = AtomicBool::new(false);

/// Raises what is too low. It must be called before the walls go up, which take the right away.
pub fn raise() {
    if let Some(now) = below(Resource::As, ADDRESSES) {
        if raised(Resource::As, None, ADDRESSES) {
            // The limit was for memory: the memory that this process can write to is still bounded by it.
            bound(Resource::Data, now);
        } else {
            TOO_FEW_ADDRESSES.store(now, Ordering::Relaxed);
        }
    }
    let stack_is_small = below(Resource::Stack, SMALL_STACK).is_some()
        && !raised(Resource::Stack, Some(STACK), SMALL_STACK);
    let has_little_time = getrlimit(Resource::Cpu).current.is_some();
    CAN_CRASH.store(stack_is_small || has_little_time, Ordering::Relaxed);
    if below(Resource::Nofile, DESCRIPTORS).is_some() {
        raised(Resource::Nofile, Some(DESCRIPTORS), DESCRIPTORS);
    }
}

/// The limit on addresses, if it is too low for a guest.
pub fn too_few_addresses() -> Option<u64> {
    Some(TOO_FEW_ADDRESSES.load(Ordering::Relaxed)).filter(|limit| *limit != u64::MAX)
}

/// The limit on descriptors, if no run can do with it.
pub fn too_few_descriptors() -> Option<u64> {
    below(Resource::Nofile, FEWEST_DESCRIPTORS)
}

/// Whether a crash may be the fault of a limit: on the stack or on the processor's time.
/// Async-signal-safe.
pub fn can_crash() -> bool {
    CAN_CRASH.load(Ordering::Relaxed)
}

/// The soft limit, if it is lower than `least`.
fn below(resource: Resource, least: u64) -> Option<u64> {
    getrlimit(resource).current.filter(|now| *now < least)
}

/// Raises a limit to `wanted`, or to as much of it as this process may have. Whether it is not below
/// `least` then.
fn raised(resource: Resource, wanted: Option<u64>, least: u64) -> bool {
    let hard = getrlimit(resource).maximum;
    let maximum = hard.zip(wanted).map(|(hard, wanted)| hard.max(wanted));
    // Above the hard limit, this needs `CAP_SYS_RESOURCE`.
    if setrlimit(resource, Rlimit { current: wanted, maximum }).is_ok() {
        return true;
    }
    let _ = setrlimit(resource, Rlimit { current: hard, maximum: hard });
    getrlimit(resource).current.is_none_or(|now| now >= least)
}

/// Sets a limit, unless it is lower already.
fn bound(resource: Resource, most: u64) {
    let Rlimit { current, maximum } = getrlimit(resource);
    if current.is_none_or(|now| now > most) {
        let _ = setrlimit(resource, Rlimit { current: Some(most), maximum });
    }
}
