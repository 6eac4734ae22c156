//! The operating system's walls around a process that holds keys: what a bug in the WebAssembly
//! sandbox, or in a PKCS#11 module, still meets.
//!
//! | module | wall |
//! |---|---|
//! | [`decoder`] | all of those around `ctd-decoder`, phase by phase |
//! | [`module`] | those around a PKCS#11 module |
//! | [`calls`], [`seccomp`] | which system calls there are, and what becomes of the others |
//! | [`files`] | which files can be reached (Landlock) |
//! | [`rights`] | capabilities, another user, no new privileges |
//! | [`memory`] | no dumps, no swap, limits |
//! | [`relro`] | what the program's start has relocated is not written to |
//! | [`zeroizing_alloc`] | freed memory is wiped |
//! | [`probe()`] | which of them this kernel gives |
//! | [`Wall`], [`Error`] | whether a wall is up, or why not |
//!
//! Everything here takes something away from the calling process, for good. All of it is for
//! Linux, on x86-64 and aarch64, and for the calling thread: threads that were started before
//! keep their rights, so walls come first and threads after.

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
