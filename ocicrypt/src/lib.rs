//! The OCI image-encryption format (ocicrypt) in pure Rust, without I/O.
//!
//! An encrypted layer is AES-256-CTR with an HMAC ([`layer`]). Its key is wrapped for each recipient,
//! and the wrapped keys are in the annotations of the layer ([`encrypt`]). containerd passes them to a
//! decoder together with private keys, as a [`payload`]; if it does not, they are still in the image's
//! [`manifest`]. [`unwrap`](mod@unwrap) recovers the key of the layer from them, with the private keys
//! of a [`keyring`] and with those that a [`broker`] can use.
//!
//! The crate reads nothing, writes nothing and has no clock. Bytes are arguments, and so are the time
//! and a random number generator, which are needed for new keys and for blinding private-key
//! operations. `getrandom::SysRng` (version 0.4) is such a generator. The crate builds for
//! `wasm32-wasip2` and every native target.
//!
//! # Features
//! - `unwrap` (default): everything that parses. Without it, the crate has only [`layer`].
//! - `encrypt` (default): encryption, with [`encrypt`] and [`layer::Encryptor`].
//! - `hazmat`: raw operations, and the bytes of layer keys. Use it only if you know the consequences.
//!
//! # Example
//! ```
//! # #[cfg(feature = "encrypt")] {
//! use ocicrypt::encrypt::{self, Recipient};
//! use ocicrypt::keyring::KeyRing;
//! use ocicrypt::layer::{Encryptor, PlainReader};
//! use ocicrypt::payload::{self, Payload};
//! use ocicrypt::unwrap::{UnwrapError, unwrap};
//!
//! # let public_key = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBBCZ2hx6OzEFu7XgxM4IwQ+EehUX\nNA9axGbbvyqtfrP+scgQ2JrWmpCSu7Gh5Z4wQwSkx7X+W1BMZl1cxcFekg==\n-----END PUBLIC KEY-----";
//! # let private_key = b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvo09Y87MRPD/TsRl\nE1QBecXmij0Woht26Wt++QC99BehRANCAAQEEJnaHHo7MQW7teDEzgjBD4R6FRc0\nD1rEZtu/Kq1+s/6xyBDYmtaakJK7saHlnjBDBKTHtf5bUExmXVzFwV6S\n-----END PRIVATE KEY-----";
//! let mut rng = getrandom::SysRng;
//!
//! // The publisher of an image encrypts its layers, in place and in pieces of any size.
//! let mut layer = b"the content of a layer".to_vec();
//! let mut encryptor = Encryptor::new(&mut rng)?;
//! encryptor.update(&mut layer);
//! let recipients = [Recipient::jwe(public_key)?];
//! let annotations = encrypt::annotations(&encryptor.finish(), &recipients, &mut rng)?;
//!
//! // containerd writes this payload to descriptor 3 of a decoder.
//! let descriptor = serde_json::json!({
//!     "mediaType": "application/vnd.oci.image.layer.v1.tar+encrypted",
//!     "size": layer.len(),
//!     "annotations": annotations,
//! });
//! let json = serde_json::json!({ "DecryptConfig": null, "Descriptor": descriptor });
//! let bytes = payload::encode(json.to_string().as_bytes());
//!
//! // The decoder uses the keys that the node holds.
//! let payload = Payload::parse(&bytes)?;
//! let mut ring = KeyRing::new();
//! ring.add_file("node.pem", private_key);
//! let key = unwrap(&payload, &ring, &mut rng)?;
//!
//! // The end of the layer is released after all of it has verified.
//! let mut reader = PlainReader::new(&layer[..], &key);
//! let mut plain = Vec::new();
//! while let Some(chunk) = reader.next_chunk()? {
//!     plain.extend(chunk);
//! }
//! assert_eq!(plain, b"the content of a layer");
//!
//! // Without the right key, the error lists what was tried.
//! let error = unwrap(&payload, &KeyRing::new(), &mut rng).err();
//! assert!(matches!(error, Some(UnwrapError::NoKeyOpened { .. })));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod crypto;
mod encoding;
#[cfg(feature = "unwrap")]
mod format;

#[cfg(feature = "unwrap")]
pub mod algorithms;
#[cfg(feature = "unwrap")]
pub mod bounds;
#[cfg(feature = "unwrap")]
pub mod broker;
#[cfg(feature = "unwrap")]
pub mod budget;
#[cfg(feature = "encrypt")]
pub mod encrypt;
#[cfg(all(feature = "hazmat", feature = "unwrap"))]
pub mod hazmat;
#[cfg(feature = "unwrap")]
pub mod jwe;
#[cfg(feature = "unwrap")]
pub mod keyring;
#[cfg(feature = "unwrap")]
pub mod keys;
#[cfg(feature = "unwrap")]
pub mod pgp;
#[cfg(feature = "unwrap")]
pub mod pkcs11;
#[cfg(feature = "unwrap")]
pub mod pkcs7;
#[cfg(feature = "unwrap")]
pub mod unwrap;

#[doc(inline)]
pub use self::crypto::layer;
#[doc(inline)]
pub use self::encoding::text;
#[cfg(feature = "unwrap")]
#[doc(inline)]
pub use self::format::{annotation, manifest, media_type, options, payload};

#[cfg(all(doctest, feature = "encrypt"))]
#[doc = include_str!("../README.md")]
struct Readme;
