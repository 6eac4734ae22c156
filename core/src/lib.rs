//! The sandbox: what must be right for the promise of two instances to hold.
//!
//! A layer is decrypted in two steps, each in an instance of its own. The first, `unwrap`, sees the
//! private keys and has no stream to write to. The second, `decrypt`, has the streams of the layer
//! and sees no private key; where the host lends its cipher, it sees no layer key either. Whether
//! the layer came out right is decided here, by what the host saw, not by what the guest claims.
//!
//! | module | duty |
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
//! | [`verdict`] | whether the layer came out right |
//! | [`sanitize`] | text that leaves the sandbox, made fit for a message |
//!
//! Nothing here reads a configuration, reports, or does input and output of its own: the host hands
//! over the streams, and turns errors into messages.

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
    /// The guest decrypts by itself.
    Guest,
}

/// Locks what is shared, even after a panic: only one thread uses it.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
