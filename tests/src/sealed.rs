//! A writer of encrypted layers, for tests: everything that a well-behaved encryptor would never
//! write can be written with it.
//!
//! Made from the standards, not from the code under test. skopeo reads what it writes (see
//! `tests/drop_in.rs`), so a decoder that refuses it is wrong.

use std::collections::BTreeMap;

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use anyhow::{Context, Result, anyhow};
use base64ct::{Base64, Encoding};
use ctr::Ctr128BE;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::image::{Descriptor, LayerKind, hex};
use crate::jwe::{Jwe, Recipient};
use crate::payload::Payload;

/// The annotation with the public options.
pub const PUBLIC_OPTIONS: &str = "org.opencontainers.image.enc.pubopts";
/// The annotation with wrapped keys of the scheme JWE.
pub const JWE_KEYS: &str = "org.opencontainers.image.enc.keys.jwe";
/// The annotation with wrapped keys of the scheme PKCS#7.
pub const PKCS7_KEYS: &str = "org.opencontainers.image.enc.keys.pkcs7";
/// The annotation with wrapped keys of the scheme OpenPGP.
pub const PGP_KEYS: &str = "org.opencontainers.image.enc.keys.pgp";

/// One encrypted layer and what opens it.
#[derive(Clone)]
pub struct Sealed {
    /// The layer before it was encrypted.
    pub plain: Vec<u8>,
    /// The layer as a registry keeps it.
    pub encrypted: Vec<u8>,
    /// The private options: what a wrapped key holds.
    pub private: Value,
    /// The public options.
    pub public: Value,
}

impl Sealed {
    /// Encrypts `plain` under a new key.
    pub fn new(plain: Vec<u8>) -> Self {
        Self::with_key(plain, &random(), &random())
    }

    /// Encrypts `plain` under this key.
    pub fn with_key(plain: Vec<u8>, key: &[u8; 32], nonce: &[u8; 16]) -> Self {
        let encrypted = decrypted(key, nonce, &plain);
        let private = json!({
            "symkey": Base64::encode_string(key),
            "digest": format!("sha256:{}", hex(&Sha256::digest(&plain))),
            "cipheroptions": { "nonce": Base64::encode_string(nonce) },
        });
        let public = json!({
            "cipher": "AES_256_CTR_HMAC_SHA256",
            "hmac": Base64::encode_string(&hmac(key, &encrypted)),
            "cipheroptions": {},
        });
        Self { plain, encrypted, private, public }
    }

    /// What anyone can make who sees the encrypted layer and knows no key of it: another key, with
    /// the HMAC of the very same bytes and the digest of what they decrypt to.
    pub fn of_a_stranger(&self) -> Self {
        self.claimed_with(&random(), &random())
    }

    /// The same with this key.
    pub fn claimed_with(&self, key: &[u8; 32], nonce: &[u8; 16]) -> Self {
        Self::with_key(decrypted(key, nonce, &self.encrypted), key, nonce)
    }

    /// A layer of so many bytes that no two of them repeat in a pattern.
    pub fn of_length(length: usize) -> Self {
        let mut plain = vec![0; length];
        let (key, nonce): ([u8; 32], [u8; 16]) = (random(), random());
        Ctr128BE::<Aes256>::new(&key.into(), &nonce.into()).apply_keystream(&mut plain);
        Self::new(plain)
    }

    /// Another plaintext under the same key. Where both are equally long, knowing the plaintext is
    /// enough to make it.
    ///
    /// # Errors
    ///
    /// Damaged private options.
    pub fn encrypted_as(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let bytes = |value: &Value| {
            let text = value.as_str().context("no string")?;
            Base64::decode_vec(text).map_err(|error| anyhow!("{error}"))
        };
        let key = bytes(&self.private["symkey"])?;
        let nonce = bytes(&self.private["cipheroptions"]["nonce"])?;
        Ok(decrypted(&key, &nonce, plain))
    }

    /// The private options, wrapped for one recipient as a flattened JWE.
    pub fn wrapped_for(&self, recipient: &Recipient) -> Jwe {
        Jwe::seal(recipient, self.private.to_string().as_bytes(), json!({}))
    }

    /// What a manifest says of the layer, with these items as its wrapped keys in JWE.
    pub fn descriptor<I: AsRef<[u8]>>(&self, items: &[I]) -> Descriptor {
        self.descriptor_with(JWE_KEYS, items)
    }

    /// The same, with the wrapped keys of another scheme: its annotation.
    pub fn descriptor_with<I: AsRef<[u8]>>(&self, scheme: &str, items: &[I]) -> Descriptor {
        let items: Vec<_> = items.iter().map(|item| Base64::encode_string(item.as_ref())).collect();
        let public = Base64::encode_string(self.public.to_string().as_bytes());
        Descriptor {
            media_type: format!("{}+encrypted", LayerKind::Tar.media_type()),
            digest: format!("sha256:{}", hex(&Sha256::digest(&self.encrypted))),
            // What the layer should have: `encrypted` may have been altered since.
            size: self.plain.len() as u64,
            annotations: BTreeMap::from([
                (scheme.to_owned(), items.join(",")),
                (PUBLIC_OPTIONS.to_owned(), public),
            ]),
        }
    }

    /// The payload of a CRI pull, for one recipient.
    pub fn payload_for(&self, recipient: &Recipient) -> Payload {
        self.payload(&[self.wrapped_for(recipient).flattened().to_string()])
    }

    /// The payload of a CRI pull, with these items as its wrapped keys in JWE.
    pub fn payload<I: AsRef<[u8]>>(&self, items: &[I]) -> Payload {
        Payload::new(&self.descriptor(items))
    }

    /// The payload of a CRI pull, with the wrapped keys of another scheme: its annotation.
    pub fn payload_with<I: AsRef<[u8]>>(&self, scheme: &str, items: &[I]) -> Payload {
        Payload::new(&self.descriptor_with(scheme, items))
    }
}

/// The layer cipher alone, which is the same in both directions.
fn decrypted(key: &[u8], nonce: &[u8], text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let cipher = Ctr128BE::<Aes256>::new_from_slices(key, nonce);
    cipher.expect("32 bytes of key, 16 of nonce").apply_keystream(&mut text);
    text
}

/// HMAC-SHA256.
pub fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).expect("HMAC-SHA256 takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
