//! The OCI image-encryption format (ocicrypt) in pure Rust, without I/O.

#![forbid(unsafe_code)]

pub mod layer;

#[cfg(feature = "unwrap")]
pub mod annotation;
#[cfg(feature = "unwrap")]
pub mod jwe;
#[cfg(feature = "unwrap")]
pub mod key;
#[cfg(feature = "unwrap")]
pub mod keyring;
#[cfg(feature = "unwrap")]
pub mod media_type;
#[cfg(feature = "unwrap")]
pub mod options;
#[cfg(feature = "unwrap")]
pub mod payload;
#[cfg(feature = "unwrap")]
pub mod unwrap;

#[cfg(feature = "unwrap")]
mod base64;
#[cfg(feature = "unwrap")]
mod json;
mod text;
