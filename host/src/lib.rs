//! The host of Keycell's stream processor: it takes what containerd hands over, runs a WebAssembly
//! guest in the sandbox of [`keycell_core`], and reports how the layer ended.
//!
//! It parses nothing that an image or a key file contains: payload and keys pass through as bytes.
//!
//! | folder | what is in it |
//! |---|---|
//! | `run` | the whole of a decoder, from the command line to the exit code |
//! | [`guests`] | which guest runs, and how: the two steps, or one command |
//! | `input` | payload, keys, the encrypted layer, containerd's content store |
//! | `broker` | key providers and PKCS#11 tokens |
//! | `sandbox` | deadlines, files, the operating system's walls |
//! | `report` | standard error, the log, `--explain` |
//! | `unix` | signals, descriptors, memory |
//!
//! Each uses only those below it.

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
