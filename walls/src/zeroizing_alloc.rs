//! An allocator that wipes what is freed.
//!
//! Key files, payloads and layer keys pass through vectors and strings of libraries that know
//! nothing of secrets (the WASI layer reads key files into plain buffers). Types that wipe
//! themselves do not reach those; the allocator reaches all of them.

#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

/// The system's allocator, with memory overwritten before it is given back. For
/// `#[global_allocator]`.
pub struct ZeroizingAlloc;

/// What is done where the system has no more memory.
static EXHAUSTED: OnceLock<fn()> = OnceLock::new();

/// From now on `tell` is called where the system has no more memory, and should not return. It must not
/// allocate. Rust's own message would be another line than ours, and no event.
pub fn when_exhausted(tell: fn()) {
    let _ = EXHAUSTED.set(tell);
}

fn checked(memory: *mut u8) -> *mut u8 {
    if memory.is_null()
        && let Some(tell) = EXHAUSTED.get()
    {
        tell();
    }
    memory
}

/// How deep the stack is wiped, in bytes: twice of what a run was seen to use.
const STACK: usize = 128 * 1024;

/// Overwrites what functions that have returned left on this stack: values that were moved leave
/// copies behind. To be called from below all of them.
#[inline(never)]
pub fn wipe_stack() {
    let mut unused = [0_u8; STACK];
    std::hint::black_box(&mut unused);
}

/// Whether the caller's limit (`LimitSTACK`) leaves room for [`wipe_stack`]: to touch more would end the
/// process. To be asked before the walls go up, which forbid it.
pub fn stack_can_be_wiped() -> bool {
    let most = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    most.is_none_or(|most| most >= 4 * STACK as u64)
}

/// Shows memory that nobody uses, `size` bytes of it, and gives it back as it is.
pub fn unused(size: usize, look: impl FnOnce(*mut u8)) {
    let Ok(layout) = Layout::array::<u8>(size.max(1)) else { return };
    // SAFETY: the layout has a size, and what comes from `source` goes back to it with the same layout.
    unsafe {
        let memory = source(layout).alloc(layout);
        if !memory.is_null() {
            look(memory);
            source(layout).dealloc(memory, layout);
        }
    }
}

// SAFETY: all memory comes from `source` and goes back to it with the same layout. `realloc` is the
// trait's own: new memory, a copy, and the old memory freed, so that a buffer that grows leaves
// nothing behind.
unsafe impl GlobalAlloc for ZeroizingAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        checked(unsafe { source(layout).alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        checked(unsafe { source(layout).alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory is the caller's, `layout.size()` bytes long, until it is freed. The
        // compiler may not leave `explicit_bzero` out, as it may a write before a `free`.
        unsafe {
            libc::explicit_bzero(memory.cast(), layout.size());
            source(layout).dealloc(memory, layout);
        }
    }
}

/// Where a block comes from, and where it goes back to: its layout tells.
///
/// musl maps and unmaps memory all the time, which takes a fifth of a start (docs/performance.md); `dlmalloc` may
/// keep what is free again between two blocks that are not. So small blocks come from the one, large ones from the other.
fn source(layout: Layout) -> &'static dyn GlobalAlloc {
    /// A block of so many bytes is a large one.
    #[cfg(target_env = "musl")]
    const LARGE: usize = 256 * 1024;
    #[cfg(target_env = "musl")]
    if layout.size() < LARGE {
        return &dlmalloc::GlobalDlmalloc;
    }
    let _ = layout; // elsewhere all blocks are the system's
    &System
}
