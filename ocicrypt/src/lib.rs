//! The OCI image-encryption format (ocicrypt) in pure Rust, without I/O.
//!
//! An encrypted layer is AES-256-CTR with an HMAC ([`layer`]). Its key is wrapped for each
//! recipient and stands in the annotations of the layer, which containerd hands to a decoder
//! together with private keys, as a [`payload`]. From there to the key of the layer it is
//! [`unwrap`](mod@unwrap), with the private keys of a [`keyring`], and with those that a [`broker`]
//! reaches.
//!
//! The crate reads nothing, writes nothing and has no clock: bytes come in as arguments, and random
//! numbers, which blind private-key operations, from a generator that the caller passes.
//!
//! # Features
//! - `unwrap` (default): everything that parses. Without it the crate is [`layer`] alone.
//!
//! # Example
//! ```
//! # #[cfg(feature = "unwrap")] {
//! use ocicrypt::keyring::KeyRing;
//! use ocicrypt::payload::Payload;
//! use ocicrypt::unwrap::{UnwrapError, unwrap};
//!
//! # let key_file = include_bytes!("../tests/data/keys/p-256.sec1.pem");
//! # let layers = include_str!("../tests/data/layers.json");
//! # let layers: serde_json::Value = serde_json::from_str(layers).unwrap();
//! # let json = serde_json::json!({ "DecryptConfig": null, "Descriptor": layers["p-256"] });
//! # let json = json.to_string();
//! # let length = [json.len() as u8 | 0x80, (json.len() >> 7) as u8];
//! # let bytes = [b"\x0a\x21io.containerd.ocicrypt.v1.Payload\x12", &length[..], json.as_bytes()];
//! # let bytes = bytes.concat();
//! // What containerd wrote to descriptor 3, and the keys that the node holds.
//! let payload = Payload::parse(&bytes)?;
//! let mut ring = KeyRing::new();
//! ring.add_file("pod.pem", key_file);
//! ring.add_parameters(&payload.parameters);
//!
//! let key = unwrap(&payload, &ring, &mut getrandom::SysRng)?;
//! assert!(key.digest().is_some_and(|digest| digest.starts_with("sha256:")));
//!
//! // Without the right key, the error tells what was tried.
//! let error = unwrap(&payload, &KeyRing::new(), &mut getrandom::SysRng).err();
//! assert!(matches!(error, Some(UnwrapError::NoKeyOpened { .. })));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod layer;

#[cfg(feature = "unwrap")]
pub mod annotation;
#[cfg(feature = "unwrap")]
pub mod broker;
#[cfg(feature = "encrypt")]
pub mod encrypt;
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
pub mod pgp;
#[cfg(feature = "unwrap")]
pub mod pkcs11;
#[cfg(feature = "unwrap")]
pub mod pkcs7;
#[cfg(feature = "unwrap")]
pub mod unwrap;

#[cfg(feature = "unwrap")]
mod base64;
#[cfg(feature = "unwrap")]
mod json;
mod text;
