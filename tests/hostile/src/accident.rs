//! An allocator that lets something bad happen to the program that uses it, at any moment: as a bug of
//! the host would.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use keycell_walls::zeroizing_alloc::ZeroizingAlloc;

/// The variable that says what happens, and at which allocation: `panic:1234`.
pub const ACCIDENT: &str = "KEYCELL_HOSTILE_ACCIDENT";

/// What can happen.
pub const KINDS: [&str; 4] = ["panic", "abort", "segfault", "overflow"];

/// For `#[global_allocator]`.
pub struct Accident;

static KIND: AtomicU8 = AtomicU8::new(0);
static LEFT: AtomicI64 = AtomicI64::new(-1);

/// Prepares what the environment asks for.
pub fn prepare() {
    let Ok(wanted) = std::env::var(ACCIDENT) else { return };
    let Some((kind, number)) = wanted.split_once(':') else { return };
    let kind = KINDS.iter().position(|known| *known == kind);
    let (Some(kind), Ok(number)) = (kind, number.parse()) else { return };
    KIND.store(kind as u8, Ordering::Relaxed);
    LEFT.store(number, Ordering::Relaxed);
}

// SAFETY: all memory is that of `ZeroizingAlloc`, which keeps the contract.
#[expect(unsafe_code, reason = "an allocator")]
unsafe impl GlobalAlloc for Accident {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
            happen(KINDS[usize::from(KIND.load(Ordering::Relaxed))]);
        }
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { ZeroizingAlloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { ZeroizingAlloc.dealloc(memory, layout) }
    }
}

fn happen(kind: &str) {
    match kind {
        "panic" => panic!("on purpose"),
        "abort" => std::process::abort(),
        "segfault" => segfault(),
        _ => {
            overflow(1);
        }
    }
}

#[expect(unsafe_code, reason = "a bug on purpose")]
fn segfault() {
    // SAFETY: none. The page is never mapped, so that the kernel stops the program here.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
}

#[expect(unconditional_recursion, reason = "a bug on purpose")]
fn overflow(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + room[511]
}
