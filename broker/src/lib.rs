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

use std::fmt;

/// Why a key provider or a token did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The operator has configured no such provider, or allows no such PKCS#11 module.
    NotConfigured,
    /// It failed. One line for the operator, with the fix in it where there is one: lower case,
    /// no full stop, values in backticks, never a PIN or a key.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => f.write_str("it is not configured"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refusal {}
