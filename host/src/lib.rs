//! The host of Keycell's stream processor. It takes what containerd passes, runs a WebAssembly guest in
//! the sandbox of [`keycell_core`], and reports how the layer ended.
//!
//! The host does not parse the contents of images or key files: payload and keys pass through as bytes.
//!
//! | folder | what is in it |
//! |---|---|
//! | `run` | a whole run of the decoder, from the command line to the exit code |
//! | [`guests`] | which guest runs, and how: the two steps, or one command |
//! | `input` | payload, keys, the encrypted layer, containerd's content store |
//! | `broker` | key providers and PKCS#11 tokens |
//! | `sandbox` | deadlines, files, the operating system's walls |
//! | `report` | standard error, the log, `--explain` |
//! | `unix` | signals, descriptors, memory |
//!
//! Each folder uses only those below it in this table.

pub mod guests;

mod broker;
mod input;
mod report;
mod run;
mod sandbox;
mod unix;

pub use guests::native_code::{self, NativeCode};
pub use keycell_core::Limits;
pub use run::{main, main_within};
