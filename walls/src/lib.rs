//! The operating system's walls around a process that holds keys. They still confine an attacker who
//! exploits a bug in the WebAssembly sandbox or in a PKCS#11 module.
//!
//! | module | wall |
//! |---|---|
//! | [`decoder`] | all walls around `ctd-decoder`, phase by phase |
//! | [`module`] | the walls around a PKCS#11 module |
//! | [`calls`], [`seccomp`] | which system calls are allowed, and what happens to the others |
//! | [`files`] | which files can be reached (Landlock) |
//! | [`rights`] | Linux capabilities, another user, no new privileges |
//! | [`memory`] | no dumps, no swap, limits |
//! | [`relro`] | makes the program's relocated data read-only |
//! | [`zeroizing_alloc`] | freed memory is wiped |
//! | [`probe()`] | which walls this kernel provides |
//! | [`Wall`], [`Error`] | whether a wall is up, or why not |
//!
//! Everything here takes something away from the calling process permanently. The code is for Linux on
//! x86-64 and aarch64, and applies to the calling thread: threads that were started before keep their
//! rights, so walls must come first and threads after.

pub mod calls;
pub mod decoder;
pub mod files;
pub mod memory;
pub mod module;
pub mod relro;
pub mod rights;
pub mod seccomp;
pub mod sigsys;
pub mod zeroizing_alloc;

mod bpf;
mod error;
mod probe;
mod wall;

pub use error::Error;
pub use probe::probe;
pub use wall::{Extent, State, Wall};
