//! The broker: key providers and PKCS#11 tokens, in a process of its own.

pub mod client;
pub mod imports;
pub mod refusals;
