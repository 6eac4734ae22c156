//! Memory that every run uses, mapped ahead: one call takes a fraction of the time of the page faults
//! that it replaces, of which a start has some two hundred (docs/performance.md).

use std::ptr;

use rustix::mm::{Advice, madvise};

/// How much more of the heap is asked for when it is full, in bytes. All that a start needs.
const HEAP: libc::c_int = 320 * 1024;

/// How much of it is mapped at once, in bytes: as much as was seen to be used.
const OF_HEAP: usize = 224 * 1024;

/// How much of the stack, in bytes. Linux gives a program 128 KiB to begin with.
const OF_STACK: usize = 96 * 1024;

/// A smaller allocation comes from the heap, in bytes. By itself the C library would decide that
/// anew each time.
const NOT_FROM_HEAP: libc::c_int = 8 * 1024 * 1024;

/// Maps the pages that a run begins with. Where that fails, they come one by one.
#[expect(unsafe_code, reason = "memory is mapped, and a function of C is called")]
pub fn map() {
    let here = 0_u8;
    let below = ptr::from_ref(&here).wrapping_sub(OF_STACK);
    populate(below.cast_mut(), OF_STACK);

    // SAFETY: numbers for the allocator, and memory that is given back at once. No other thread is
    // there yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, NOT_FROM_HEAP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, NOT_FROM_HEAP);
        libc::mallopt(libc::M_TOP_PAD, HEAP);
        let heap = libc::malloc(OF_HEAP);
        if !heap.is_null() {
            populate(heap.cast(), OF_HEAP);
        }
        libc::free(heap);
    }
}

/// The pages of these bytes, whole or in part. Linux before 5.14 cannot.
#[expect(unsafe_code, reason = "memory is mapped")]
fn populate(from: *mut u8, length: usize) {
    const PAGE: usize = 4096;
    let start = from.map_addr(|address| address & !(PAGE - 1));
    // SAFETY: it changes no byte, whoever has them, and where there is no memory it is an error.
    let _ = unsafe { madvise(start.cast(), length, Advice::LinuxPopulateWrite) };
}
