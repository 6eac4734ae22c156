//! `ctd-decoder` without the operating system's walls, for valgrind, which makes system calls of its
//! own inside the process that the walls would stop. Everything else is the same.
//!
//! `make guard` builds it. It is an example, not a switch of `ctd-decoder`, so that no installed
//! program can be started without its walls.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use keycell_host::{Limits, native_code};

/// The same allocator as in `ctd-decoder`, because wiping is counted too.
#[global_allocator]
static MEMORY: keycell_walls::zeroizing_alloc::ZeroizingAlloc =
    keycell_walls::zeroizing_alloc::ZeroizingAlloc;

fn main() -> ExitCode {
    let limits = Limits { walls: false, ..Limits::default() };
    keycell_host::main_within(&native_code::embedded(), limits)
}
