//! The broker: key providers and PKCS#11 tokens, in a separate process.

pub mod client;
pub mod imports;
pub mod refusals;
