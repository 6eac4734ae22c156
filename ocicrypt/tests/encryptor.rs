//! The layer cipher in the direction of encrypting: against what openssl made of the same key, and
//! against the decryptor.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt;

use getrandom::SysRng;
use ocicrypt::encrypt::{self, EncryptError, NoRandomness, Recipient, WrapError, private_options};
use ocicrypt::layer::{AES_256_CTR_HMAC_SHA256, Encryptor, LayerKey, PlainReader};
use rand_core::{TryCryptoRng, TryRng};

use common::data;

/// From `tests/layer.rs`, which tells how openssl made them.
const KEY: [u8; 48] = {
    let mut bytes = [0xff; 48];
    let mut at = 0;
    while at < 32 {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes[47] = 0xfe;
    bytes
};
const PLAIN: &[u8] =
    b"The plain layer of a test, longer than two blocks of the cipher: the counter wraps.\n";
const ENCRYPTED: &str = "378dd122c57229b494cd95bfe0a9556486ffc47c6cd315a927ab311732e1308b80b074de4b27\
bfa4de9cba08b14114eb837d19c86acdf7808695f24120a744072ec8ddbb954fecc866dccc47385be3f8a2307859";
const HMAC: &str = "4d0ff25f3b06966d79c73a650019c35555e69a67c0a273d2647005b9926fbaf2";
const DIGEST: &str = "sha256:1693ec5ee6fa071359e81ccbf17b006dc1d3cce6e880d00e0353bf63cab294e2";

/// Not random at all: bytes in their order, and then the failure.
struct Fixed<'a>(&'a [u8]);

#[derive(Debug)]
struct Empty;

impl fmt::Display for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("empty")
    }
}

impl std::error::Error for Empty {}

impl TryRng for Fixed<'_> {
    type Error = Empty;

    fn try_next_u32(&mut self) -> Result<u32, Empty> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Empty> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, wanted: &mut [u8]) -> Result<(), Empty> {
        let (taken, rest) = self.0.split_at_checked(wanted.len()).ok_or(Empty)?;
        wanted.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Fixed<'_> {}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Encrypts in pieces of this size.
fn encrypted(plain: &[u8], piece: usize) -> (Vec<u8>, LayerKey) {
    let mut bytes = plain.to_vec();
    let mut encryptor = Encryptor::new(&mut SysRng).unwrap();
    bytes.chunks_mut(piece).for_each(|piece| encryptor.update(piece));
    (bytes, encryptor.finish())
}

#[test]
fn as_openssl() {
    for piece in [1, 15, 16, 17, 84] {
        let mut bytes = PLAIN.to_vec();
        let mut encryptor = Encryptor::new(&mut Fixed(&KEY)).unwrap();
        bytes.chunks_mut(piece).for_each(|piece| encryptor.update(piece));
        let key = encryptor.finish();
        assert_eq!(hex(&bytes), ENCRYPTED);
        assert_eq!(hex(key.hmac()), HMAC);
        assert_eq!(key.digest().unwrap(), DIGEST);
        assert_eq!(key.length(), Some(PLAIN.len() as u64));
    }
}

#[test]
fn what_was_encrypted_verifies() {
    for length in [0, 1, 15, 16, 17, 8191, 8192, 8193, 65_535, 65_536, 65_537, 300_000] {
        let plain: Vec<u8> = (0..length).map(|index: u32| (index % 251) as u8).collect();
        for piece in [1000, 8192, 65_536] {
            let (bytes, key) = encrypted(&plain, piece);
            assert_eq!(bytes.len(), plain.len());
            assert!(length < 16 || bytes != plain);
            let mut reader = PlainReader::new(&bytes[..], &key);
            let mut found = Vec::new();
            while let Some(chunk) = reader.next_chunk().unwrap() {
                found.extend(chunk);
            }
            assert!(reader.is_verified() && found == plain, "{length} by {piece}");
        }
    }
}

#[test]
fn no_two_layers_share_a_key() {
    let (first, second) = (encrypted(PLAIN, 100).1, encrypted(PLAIN, 100).1);
    assert_ne!(first.key(), second.key());
    assert_ne!(first.nonce(), second.nonce());
    assert_ne!(first.key()[..16], first.nonce()[..]);
}

#[test]
fn options_as_go_writes_them() {
    let key = LayerKey::new(AES_256_CTR_HMAC_SHA256, &[1; 32], &[2; 16], &[3; 32], Some(DIGEST));
    let options = private_options(&key.unwrap());
    let wanted = r#"{"symkey":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","digest":"sha256:1693ec5ee6fa071359e81ccbf17b006dc1d3cce6e880d00e0353bf63cab294e2","cipheroptions":{"nonce":"AgICAgICAgICAgICAgICAg=="}}"#;
    assert_eq!(String::from_utf8_lossy(&options), wanted);
    // The count that RSA-2048 and SHA-256 have no room for.
    assert_eq!(options.len(), 193);
    let none = LayerKey::new(AES_256_CTR_HMAC_SHA256, &[1; 32], &[2; 16], &[3; 32], None);
    let options = private_options(&none.unwrap());
    assert!(String::from_utf8_lossy(&options).contains(r#""digest":"","#));
}

/// Wherever the random numbers end, there is an error and no layer with half a key.
#[test]
fn without_random_numbers() {
    assert_eq!(Encryptor::new(&mut Fixed(&[])).err(), Some(NoRandomness));
    assert_eq!(Encryptor::new(&mut Fixed(&KEY[..47])).err(), Some(NoRandomness));
    let (_, key) = encrypted(PLAIN, 100);
    let pgp = |name: &str| {
        let keys = data(&format!("encrypt/pgp/{name}.gpg"));
        let whom = format!("{name}@example.org").parse().unwrap();
        Recipient::pgp(&keys, &whom, common::pgp::at(2030)).unwrap().remove(0)
    };
    let recipients = [
        Recipient::jwe(&data("encrypt/rsa-2048.pub.pem")).unwrap(),
        Recipient::jwe(&data("encrypt/p-521.pub.pem")).unwrap(),
        Recipient::pkcs7(&data("pkcs7/rsa-2048.cert.pem")).unwrap(),
        Recipient::pkcs11(&data("encrypt/rsa-3072.pub.pem"), Default::default()).unwrap(),
        pgp("rsa-2048"),
        pgp("cv25519"),
    ];
    // Not zeros: PKCS#1 v1.5 pads with other bytes, and no scalar is zero.
    let bytes = [7; 4096];
    for recipient in recipients {
        let recipient = [recipient];
        let wrap =
            |length: usize| encrypt::annotations(&key, &recipient, &mut Fixed(&bytes[..length]));
        let enough = (0..bytes.len()).find(|length| wrap(*length).is_ok()).unwrap();
        assert!(enough >= 32, "{recipient:?} takes {enough} bytes");
        for length in 0..enough {
            let error = wrap(length).unwrap_err();
            assert!(
                matches!(error, EncryptError::Wrap(WrapError::NoRandomness(_))),
                "{recipient:?} {length}"
            );
        }
    }
}
