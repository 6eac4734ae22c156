//! Private-key operations that a node keeps elsewhere: in key providers and in PKCS#11 tokens.
//!
//! `ctd-decoder` starts the program `keycell-broker` only where the operator has configured one of
//! them, and talks to it over a pair of pipes. It is a process of its own, so that a PKCS#11 module
//! or a TLS library cannot take the decoder down, and never shares memory with it. `keycell` uses
//! the same library to encrypt.

#![forbid(unsafe_code)]

pub mod child;
pub mod key_files;
pub mod providers;
pub mod serve;
pub mod tokens;

mod self_exec;

mod refusal;

pub use refusal::{Failure, Refusal};
