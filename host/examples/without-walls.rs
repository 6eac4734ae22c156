//! `ctd-decoder` without the operating system's walls, to be run by valgrind: that makes system
//! calls of its own inside of the process, which the walls would stop. Everything else is the same.
//!
//! `make guard` builds it. It is an example, and no switch of `ctd-decoder`, so that nothing that is
//! shipped can be talked out of its walls.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use keycell_host::{Limits, native_code};

/// As in `ctd-decoder`: wiping is counted too.
#[global_allocator]
static MEMORY: keycell_walls::zeroizing_alloc::ZeroizingAlloc =
    keycell_walls::zeroizing_alloc::ZeroizingAlloc;

fn main() -> ExitCode {
    let limits = Limits { walls: false, ..Limits::default() };
    keycell_host::main_within(&native_code::embedded(), limits)
}
