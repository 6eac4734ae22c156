//! An allocator that wipes what is freed.
//!
//! Key files, payloads and layer keys pass through vectors and strings of libraries that know
//! nothing of secrets (the WASI layer reads key files into plain buffers). Types that wipe
//! themselves do not reach those; the allocator reaches all of them.

#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, with memory overwritten before it is given back. For
/// `#[global_allocator]`.
pub struct Wiping;

/// How deep the stack is wiped, in bytes: twice of what a run was seen to use.
const STACK: usize = 128 * 1024;

/// Overwrites what functions that have returned left on this stack: values that were moved leave
/// copies behind. To be called from below all of them.
#[inline(never)]
pub fn wipe_stack() {
    let mut unused = [0_u8; STACK];
    std::hint::black_box(&mut unused);
}

// SAFETY: all memory comes from `System` and goes back to it with the same layout. `realloc` is the
// trait's own: new memory, a copy, and the old memory freed, so that a buffer that grows leaves
// nothing behind.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory is the caller's, `layout.size()` bytes long, until it is freed. The
        // compiler may not leave `explicit_bzero` out, as it may a write before a `free`.
        unsafe {
            libc::explicit_bzero(memory.cast(), layout.size());
            System.dealloc(memory, layout);
        }
    }
}
