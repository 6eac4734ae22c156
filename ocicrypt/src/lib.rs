//! The OCI image-encryption format (ocicrypt) in pure Rust, without I/O.

#![forbid(unsafe_code)]

pub mod layer;
