//! The decoder guest: everything that parses what an image or a key file says.
//!
//! The same code is built twice. [`component`] is what `ctd-decoder` embeds: two steps, in two
//! instances, with the host's cipher. `portable.rs` is a plain WASI command that does both steps
//! and its own ciphers, for any runtime.

// `unsafe` is in what wit-bindgen generates (`component::exports`), and in `libc`.
#![deny(unsafe_code)]

pub mod failure;
pub mod inflate;
pub mod keys;
pub mod steps;
pub mod stored;

#[cfg(feature = "component")]
mod bindings;
#[cfg(feature = "component")]
mod broker_imports;
#[cfg(feature = "component")]
mod component;
#[cfg(all(feature = "component", target_os = "wasi", target_env = "p2"))]
#[expect(unsafe_code, reason = "functions that C code could call")]
mod libc;
#[cfg(feature = "component")]
mod streams;
