//! Cryptographic operations on bytes: the layer cipher, key wrapping and padding.

pub mod layer;

#[cfg(feature = "unwrap")]
pub(crate) mod aes_kw;
#[cfg(feature = "unwrap")]
pub(crate) mod identity;
#[cfg(feature = "unwrap")]
pub(crate) mod oaep;
#[cfg(feature = "unwrap")]
pub(crate) mod pkcs1v15;
#[cfg(feature = "encrypt")]
pub(crate) mod rng;
