//! The decoder guest: everything that parses what an image or a key file says.
//!
//! The same code is built twice. [`component`] is what `ctd-decoder` embeds: two steps, in two
//! instances, with the host's cipher. `portable.rs` is a plain WASI command that does both steps
//! and its own ciphers, for any runtime.

// `component` alone holds `unsafe`: what wit-bindgen generates.
#![deny(unsafe_code)]

pub mod failure;
pub mod keys;
pub mod listing;
pub mod steps;
pub mod stored;

#[cfg(feature = "component")]
mod brokered;
#[cfg(feature = "component")]
mod component;
