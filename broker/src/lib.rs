//! Private-key operations outside of the node's key files: in key providers and in PKCS#11 tokens.
//!
//! `ctd-decoder` starts the program `keycell-broker` only if the operator has configured one of them,
//! and talks to it over a pair of pipes. It is a separate process, so that a PKCS#11 module or a TLS
//! library cannot crash the decoder, and never shares memory with it. `keycell` uses the same library
//! to encrypt.

#![forbid(unsafe_code)]

pub mod child;
pub mod key_files;
pub mod providers;
pub mod serve;
pub mod tokens;

mod self_exec;

mod refusal;

pub use refusal::{Failure, Refusal};
