//! The store of installed guests: what `keycell guest` writes and `ctd-decoder --guest` reads, with
//! one place for everything that makes a guest be refused.

#![forbid(unsafe_code)]

pub mod record;
pub mod refusal;
pub mod store;

pub use record::Record;
pub use store::Store;
