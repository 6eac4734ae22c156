//! The walk through a directory of private keys, for the guest, the broker and `keycell`.
//!
//! [`walk`] visits every file below a directory in the order of their names, with one set of limits,
//! and gives a reason for each that it passes over. It reads through a [`Directory`]; there are three
//! backends: [`GrantedDirectory`], which is WASI 0.2 in a component and the standard library
//! elsewhere, and with the feature `cap-std` [`CapStdDirectory`], from which no link leads out.
//!
//! Go ctd-decoder fails at the first link and at the first file that is not a private key; Keycell
//! follows links that stay inside (Kubernetes mounts Secrets as links) and passes over the rest.

#![forbid(unsafe_code)]

mod backend;
mod passed_over;
mod retry;
mod walk;

#[cfg(feature = "cap-std")]
pub use backend::{CapStdDirectory, CapStdFile};
pub use backend::{Directory, Found, GrantedDirectory, Listing};
pub use passed_over::PassedOver;
pub use retry::retry_while_replaced;
pub use walk::walk;

/// The largest file that is read, in bytes: 1 MiB. The largest known private key is a few kilobytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// Files and directories that are visited. A node has a handful; a directory of a million files is a
/// mistake that must not take minutes.
pub const MAX_ENTRIES: usize = 16_384;

/// Nested directories that are entered. Links inside the directory are followed, so they can form a
/// ring: this limit ends it.
pub const MAX_DEPTH: usize = 8;

/// A password lies beside its key, under the key's name and one of these suffixes.
pub const PASSWORD_SUFFIXES: [&str; 2] = [".pass", ".password"];
