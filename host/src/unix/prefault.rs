//! Maps memory that every run uses in advance: one call takes a fraction of the time of the page
//! faults that it replaces, of which a start has some two hundred (docs/performance.md).

use std::ptr;

use keycell_walls::zeroizing_alloc;
use rustix::mm::{Advice, madvise};

/// How much of the heap is mapped at once, in bytes: as much as was seen to be used.
const OF_HEAP: usize = 224 * 1024;

/// How much of the stack, in bytes. Linux gives a program 128 KiB to begin with.
const OF_STACK: usize = 96 * 1024;

/// Maps the pages that a run begins with. Where that fails, they come one by one.
pub fn map() {
    let here = 0_u8;
    let below = ptr::from_ref(&here).wrapping_sub(OF_STACK);
    populate(below.cast_mut(), OF_STACK);
    // The allocator keeps what it has once had of the system, up to some MiB.
    zeroizing_alloc::unused(OF_HEAP, |heap| populate(heap, OF_HEAP));
}

/// The pages of these bytes, whole or in part. Linux before 5.14 cannot.
#[expect(unsafe_code, reason = "memory is mapped")]
fn populate(from: *mut u8, length: usize) {
    const PAGE: usize = 4096;
    let start = from.map_addr(|address| address & !(PAGE - 1));
    // SAFETY: it changes no byte, whoever has them, and where there is no memory it is an error.
    let _ = unsafe { madvise(start.cast(), length, Advice::LinuxPopulateWrite) };
}
