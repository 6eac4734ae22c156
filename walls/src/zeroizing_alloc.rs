//! An allocator that wipes memory when it is freed.
//!
//! Key files, payloads and layer keys pass through vectors and strings of libraries that do not know
//! which bytes are secret (the WASI layer reads key files into plain buffers). Types that wipe
//! themselves do not cover those; the allocator covers all of them.

#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

/// The system's allocator, which overwrites memory before it is freed. It is for `#[global_allocator]`.
pub struct ZeroizingAlloc;

/// A function that is called when the system has no more memory.
static EXHAUSTED: OnceLock<fn()> = OnceLock::new();

/// From now on, `tell` is called when the system has no more memory. It should not return, and it must
/// not allocate. Rust's own message would differ from ours, and there would be no event.
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

/// How much of the stack is wiped, in bytes: twice as much as a run was measured to use.
const STACK: usize = 128 * 1024;

/// Overwrites what functions that have returned left on this stack: moving a value leaves a copy
/// behind. Call it from a frame that is above all of theirs in the call chain.
#[inline(never)]
pub fn wipe_stack() {
    let mut unused = [0_u8; STACK];
    std::hint::black_box(&mut unused);
}

/// Whether the caller's limit (`LimitSTACK`) leaves room for [`wipe_stack`]: touching more would end
/// the process. Call it before the walls go up, which forbid it.
pub fn stack_can_be_wiped() -> bool {
    let most = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    most.is_none_or(|most| most >= 4 * STACK as u64)
}

/// Passes `size` bytes of unused memory to `look`, and then frees them.
pub fn unused(size: usize, look: impl FnOnce(*mut u8)) {
    let Ok(layout) = Layout::array::<u8>(size.max(1)) else { return };
    // SAFETY: the layout has a nonzero size, and memory from `source` goes back to it with the same
    // layout.
    unsafe {
        let memory = source(layout).alloc(layout);
        if !memory.is_null() {
            look(memory);
            source(layout).dealloc(memory, layout);
        }
    }
}

// SAFETY: all memory comes from `source` and goes back to it with the same layout. `realloc` is the
// trait's default: it allocates, copies and frees the old memory through `dealloc`, so that a growing
// buffer leaves nothing behind.
unsafe impl GlobalAlloc for ZeroizingAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `GlobalAlloc`.
        checked(unsafe { source(layout).alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        checked(unsafe { source(layout).alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller owns the memory, which is `layout.size()` bytes long, until it is freed.
        // The compiler may not remove `explicit_bzero`, although it may remove a write before a `free`.
        unsafe {
            libc::explicit_bzero(memory.cast(), layout.size());
            source(layout).dealloc(memory, layout);
        }
    }
}

/// The allocator that a block comes from and goes back to. It depends only on the layout.
///
/// musl maps and unmaps memory frequently, which takes a fifth of a start (docs/performance.md).
/// `dlmalloc` may keep a free block that lies between two used ones. So small blocks come from
/// `dlmalloc`, and large ones from musl.
fn source(layout: Layout) -> &'static dyn GlobalAlloc {
    /// Blocks of this many bytes or more are large.
    #[cfg(target_env = "musl")]
    const LARGE: usize = 256 * 1024;
    #[cfg(target_env = "musl")]
    if layout.size() < LARGE {
        return &dlmalloc::GlobalDlmalloc;
    }
    let _ = layout; // with other C libraries, all blocks come from the system
    &System
}
