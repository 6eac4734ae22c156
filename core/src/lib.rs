//! The sandbox: what must be correct so that the promise of the two instances holds.
//!
//! A layer is decrypted in two steps, each in its own instance. The first, `unwrap`, sees the private
//! keys and has no stream to write to. The second, `decrypt`, has the streams of the layer and sees no
//! private key; if the host lends its cipher, it sees no layer key either. This crate decides whether
//! the layer was decrypted, by what the host observed, not by what the guest claims.
//!
//! | module | purpose |
//! |---|---|
//! | [`contract`] | the types of `wit/decoder.wit`, generated |
//! | [`limits`] | what a guest may use |
//! | [`accounting`] | what the cipher released and what the guest wrote; holds back the last 64 KiB |
//! | [`layer_key`] | checks the layer key that a guest returned |
//! | [`streams`] | the layer's streams, as an instance holds them |
//! | [`guest_log`] | an instance's standard error |
//! | [`context`] | what an instance is granted |
//! | [`chance`] | random numbers and clocks |
//! | [`cipher`] | the cipher that the host lends |
//! | [`linker`] | what an instance can import |
//! | [`verdict`] | whether the layer was decrypted |
//! | [`sanitize`] | sanitizes text that leaves the sandbox, for messages |
//!
//! This crate reads no configuration, reports nothing, and does no input or output of its own: the host
//! passes the streams, and turns errors into messages.

#![forbid(unsafe_code)]

pub mod accounting;
pub mod chance;
pub mod cipher;
pub mod context;
pub mod contract;
pub mod guest_log;
pub mod layer_key;
pub mod limits;
pub mod linker;
pub mod sanitize;
pub mod streams;
pub mod verdict;

pub use accounting::{Accounting, Fault, SharedAccounting};
pub use context::Instance;
pub use limits::Limits;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who decrypts the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherSide {
    /// The host lends its cipher.
    Host,
    /// The guest decrypts the layer itself.
    Guest,
}

/// Locks a shared value, even after a panic: only one thread uses it.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
