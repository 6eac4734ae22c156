//! The host of Keycell's stream processor: it lends a WebAssembly guest what each step needs,
//! and decides itself whether the layer came out right.
//!
//! It parses nothing that an image or a key file says: payload and keys pass through as bytes.
//! The way of one layer: [`args`], [`config`] and [`descriptors`] take what containerd gave, [`store`]
//! finds the layer where that is no payload, [`walls`] are the operating system's, [`steps`] runs
//! the guest's two steps with the grants of [`instance`], [`broker`] asks providers and tokens,
//! [`cipher`] decrypts, [`ledger`] keeps the books that decide, [`message`] is all that is ever
//! said, and [`log`] tells the operator.

// Without the feature `runtime`: what a node is configured to, for `keycell`.
pub mod args;
pub mod config;
pub mod contract;
pub mod exposure;
pub mod words;

#[cfg(feature = "runtime")]
mod ahead;
#[cfg(feature = "runtime")]
pub mod artefact;
#[cfg(feature = "runtime")]
pub mod broker;
#[cfg(feature = "runtime")]
pub mod brokered;
#[cfg(feature = "runtime")]
pub mod choice;
#[cfg(feature = "runtime")]
pub mod cipher;
#[cfg(feature = "runtime")]
pub mod cleaned;
#[cfg(feature = "runtime")]
pub mod command;
#[cfg(feature = "runtime")]
pub mod crash;
#[cfg(feature = "runtime")]
pub mod deadline;
#[cfg(feature = "runtime")]
pub mod descriptors;
#[cfg(feature = "runtime")]
pub mod event;
#[cfg(feature = "runtime")]
pub mod explain;
#[cfg(feature = "runtime")]
pub mod failures;
#[cfg(feature = "runtime")]
pub mod files;
#[cfg(feature = "runtime")]
pub mod input;
#[cfg(feature = "runtime")]
pub mod installed;
#[cfg(feature = "runtime")]
pub mod instance;
#[cfg(feature = "runtime")]
pub mod keys;
#[cfg(feature = "runtime")]
pub mod ledger;
#[cfg(feature = "runtime")]
pub mod limits;
#[cfg(feature = "runtime")]
pub mod linger;
#[cfg(feature = "runtime")]
pub mod log;
#[cfg(feature = "runtime")]
pub mod message;
#[cfg(feature = "runtime")]
pub mod record;
#[cfg(feature = "runtime")]
pub mod refusals;
#[cfg(feature = "runtime")]
mod regular;
#[cfg(feature = "runtime")]
mod run;
#[cfg(feature = "runtime")]
mod signals;
#[cfg(feature = "runtime")]
pub mod spool;
#[cfg(feature = "runtime")]
pub mod steps;
#[cfg(feature = "runtime")]
pub mod store;
#[cfg(feature = "runtime")]
pub mod streams;
#[cfg(feature = "runtime")]
pub mod walls;
#[cfg(feature = "runtime")]
pub mod wasip1;

#[cfg(feature = "runtime")]
pub use artefact::Artefact;
#[cfg(feature = "runtime")]
pub use limits::Limits;
#[cfg(feature = "runtime")]
pub use run::{main, main_within};
