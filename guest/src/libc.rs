//! What the standard library asks a C library for, answered without one.
//!
//! That of WASI has a table of descriptors, of which some may be files, sockets or terminals, and
//! reads the environment: thirty imports, and a start waits for each. A guest has neither, and
//! writes nothing but what a panic says. The linker prefers these functions to the library's.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use wasip2::cli::stderr::get_stderr;

/// The most that WASI writes with one call (`blocking-write-and-flush`), in bytes.
const AT_ONCE: usize = 4096;

/// POSIX's `write`: whichever the descriptor is, to standard error, which the host logs.
///
/// # Safety
/// `bytes` are `length` bytes that can be read.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(_: c_int, bytes: *const c_void, length: usize) -> isize {
    // SAFETY: the caller's word, the standard library's: it has a slice of this length.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) };
    let stderr = get_stderr();
    for part in bytes.chunks(AT_ONCE) {
        if stderr.blocking_write_and_flush(part).is_err() {
            break; // the host has enough of it; nobody waits for the rest
        }
    }
    length as isize
}

/// C's `getenv`: no variable is set.
#[unsafe(no_mangle)]
extern "C" fn getenv(_: *const c_char) -> *mut c_char {
    ptr::null_mut()
}
