//! Encodings: ASN.1, base64, JSON and text for people. None of them handles keys.

pub mod text;

#[cfg(feature = "unwrap")]
pub(crate) mod asn1;
#[cfg(feature = "unwrap")]
pub(crate) mod base64;
#[cfg(feature = "unwrap")]
pub(crate) mod json;
#[cfg(feature = "unwrap")]
pub(crate) mod oid;
#[cfg(feature = "unwrap")]
pub(crate) mod pem;
