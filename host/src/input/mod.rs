//! The decoder's input: payload, keys and the encrypted layer.

pub mod candidates;
pub mod content_store;
pub mod keys;
pub mod layer;
pub mod payload;
pub mod spool;
