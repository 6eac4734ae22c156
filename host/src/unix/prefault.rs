//! Maps in advance the memory that every run uses. A start has about two hundred page faults; one call
//! that replaces them takes a fraction of their time (docs/performance.md).

use std::ptr;

use keycell_walls::zeroizing_alloc;
use rustix::mm::{Advice, madvise};

/// How much of the heap is mapped at once, in bytes: as much as measured runs used.
const OF_HEAP: usize = 224 * 1024;

/// How much of the stack is mapped at once, in bytes. Linux gives a program 128 KiB at first.
const OF_STACK: usize = 96 * 1024;

/// Maps the pages that a run begins with. If that fails, page faults map them one by one.
pub fn map() {
    let here = 0_u8;
    let below = ptr::from_ref(&here).wrapping_sub(OF_STACK);
    populate(below.cast_mut(), OF_STACK);
    // The allocator keeps the memory that it once got from the system, up to some MiB.
    zeroizing_alloc::unused(OF_HEAP, |heap| populate(heap, OF_HEAP));
}

/// Maps the pages that contain these bytes, whole or in part. Linux before 5.14 does not support this.
#[expect(unsafe_code, reason = "memory is mapped")]
fn populate(from: *mut u8, length: usize) {
    const PAGE: usize = 4096;
    let start = from.map_addr(|address| address & !(PAGE - 1));
    // SAFETY: the call changes no byte, whoever owns it, and fails where no memory is mapped.
    let _ = unsafe { madvise(start.cast(), length, Advice::LinuxPopulateWrite) };
}
