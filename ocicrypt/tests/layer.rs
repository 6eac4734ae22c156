//! The layer cipher against openssl, and what it holds back.
//!
//! The vectors were made with `openssl enc -aes-256-ctr -K … -iv …`, `openssl dgst -sha256 -mac HMAC
//! -macopt hexkey:…` over the ciphertext, and `openssl dgst` over the plaintext.

#![allow(clippy::unwrap_used)]

use std::io::{self, Read};

use ocicrypt::layer::{
    AES_256_CTR_HMAC_SHA256, CHUNK, Decryptor, Keystream, LayerError, LayerKey, LayerKeyError,
    PlainReader, Witness,
};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// One before the counter's lower half wraps, so that a 64-bit counter would show.
const NONCE: &str = "fffffffffffffffffffffffffffffffe";

const PLAIN: &[u8] =
    b"The plain layer of a test, longer than two blocks of the cipher: the counter wraps.\n";
const ENCRYPTED: &str = "378dd122c57229b494cd95bfe0a9556486ffc47c6cd315a927ab311732e1308b80b074de4b27\
bfa4de9cba08b14114eb837d19c86acdf7808695f24120a744072ec8ddbb954fecc866dccc47385be3f8a2307859";
const HMAC: &str = "4d0ff25f3b06966d79c73a650019c35555e69a67c0a273d2647005b9926fbaf2";
const SHA256: &str = "sha256:1693ec5ee6fa071359e81ccbf17b006dc1d3cce6e880d00e0353bf63cab294e2";
const SHA384: &str = "sha384:6aeefaaaed125eae420c35244e4d3dd855c0547f10d2e58c5d938609c7a2413e\
a2e07371809c7597f27264a70a9f44ec";
const SHA512: &str = "sha512:6fec0d3eded258fe3252cb26ca72899258d9fd9839764d9548df44572565a47d\
2f45335ae88500fda4aaa1b3aa4f570ee109b4f5866434dc40a20ecb3f18bb7d";

/// The HMAC of 200,000 encrypted zeros, and their digest.
const ZEROS: usize = 200_000;
const ZEROS_HMAC: &str = "c0a49de7e09c0225549441a71bcfab11798fc6c66baab100c2816458b218a1f4";
const ZEROS_DIGEST: &str =
    "sha256:4cbbd9be0cba685835755f827758705db5a413c5494c34262cd25946a73e7582";

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn key(hmac: &str, digest: Option<&str>) -> LayerKey {
    LayerKey::new(AES_256_CTR_HMAC_SHA256, &hex(KEY), &hex(NONCE), &hex(hmac), digest).unwrap()
}

/// Counter mode is its own inverse.
fn encrypted_zeros() -> Vec<u8> {
    let mut bytes = vec![0; ZEROS];
    Decryptor::new(&key(ZEROS_HMAC, None)).update(&mut bytes);
    bytes
}

/// Everything that comes out, and how it ends. The memory of each chunk is used again.
fn read_all(mut reader: PlainReader<impl Read>) -> (Vec<u8>, Result<(), LayerError>) {
    let mut plain = Vec::new();
    loop {
        match reader.next_chunk() {
            Ok(Some(mut chunk)) => {
                plain.extend_from_slice(&chunk);
                chunk.resize(2 * CHUNK, 0xaa);
                reader.reuse(chunk);
            }
            Ok(None) => return (plain, Ok(())),
            Err(error) => {
                assert!(!reader.is_verified());
                assert!(reader.next_chunk().is_err(), "an error is final");
                return (plain, Err(error));
            }
        }
    }
}

/// A source that gives a few bytes at a time, as a pipe may.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 * 7 % 1021 + 1;
        let length = self.1.min(self.0.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

#[test]
fn opens_what_openssl_encrypted() {
    for digest in [None, Some(SHA256), Some(SHA384), Some(SHA512)] {
        let (plain, end) = read_all(PlainReader::new(&*hex(ENCRYPTED), &key(HMAC, digest)));
        assert!(end.is_ok());
        assert_eq!(plain, PLAIN);
    }
}

#[test]
fn a_long_layer_comes_out_whole_however_it_arrives() {
    let encrypted = encrypted_zeros();
    let key = key(ZEROS_HMAC, Some(ZEROS_DIGEST));
    for plain in [
        read_all(PlainReader::new(&*encrypted, &key)),
        read_all(PlainReader::new(Dribble(&encrypted, 3), &key)),
    ] {
        assert!(plain.1.is_ok());
        assert!(plain.0 == vec![0; ZEROS]);
    }
}

#[test]
fn at_least_a_chunk_is_held_back_until_the_end_has_verified() {
    let mut encrypted = encrypted_zeros();
    *encrypted.last_mut().unwrap() ^= 1;
    let (plain, end) = read_all(PlainReader::new(&*encrypted, &key(ZEROS_HMAC, None)));
    assert!(matches!(end, Err(LayerError::HmacMismatch)));
    assert!(plain.len() + CHUNK <= ZEROS, "{} bytes came out", plain.len());
}

#[test]
fn a_short_layer_that_fails_does_not_come_out_at_all() {
    for length in [0, 1, 15, 16, 17, PLAIN.len() - 1] {
        let encrypted = hex(ENCRYPTED);
        let (plain, end) = read_all(PlainReader::new(&encrypted[..length], &key(HMAC, None)));
        assert!(matches!(end, Err(LayerError::HmacMismatch)), "{length} bytes");
        assert!(plain.is_empty());
    }
}

/// Whoever sends a layer and stops is told from whoever alters it.
#[test]
fn a_layer_that_ended_early_says_where() {
    let encrypted = hex(ENCRYPTED);
    let length = encrypted.len() as u64;
    let key = key(HMAC, None).with_length(Some(length));
    for found in [0, 1, length - 1] {
        let part = &encrypted[..found as usize];
        let (plain, end) = read_all(PlainReader::new(part, &key));
        let is_told = |error| matches!(error, Err(LayerError::CutOff { found: f, length: l }) if (f, l) == (found, length));
        assert!(plain.is_empty() && is_told(end));
        let mut witness = Witness::new(&key);
        witness.encrypted(part).unwrap();
        assert!(is_told(witness.finish()));
    }
    // One that has its length was altered, and one whose length is not known may be.
    let mut altered = encrypted.clone();
    altered[0] ^= 1;
    let (_, end) = read_all(PlainReader::new(&*altered, &key));
    assert!(matches!(end, Err(LayerError::HmacMismatch)));
    // A genuine layer may be shorter than what somebody wrote beside it.
    let long = key.with_length(Some(length + 1));
    assert!(read_all(PlainReader::new(&*encrypted, &long)).1.is_ok());
}

#[test]
fn a_cipher_alone_takes_key_and_nonce() {
    let mut text = hex(ENCRYPTED);
    let cipher = Keystream::of_cipher(AES_256_CTR_HMAC_SHA256, &hex(KEY), &hex(NONCE));
    cipher.unwrap().apply(&mut text);
    assert_eq!(text, PLAIN);
    assert!(Keystream::of_cipher("AES", &hex(KEY), &hex(NONCE)).is_err());
    assert!(Keystream::of_cipher(AES_256_CTR_HMAC_SHA256, &hex(KEY)[1..], &hex(NONCE)).is_err());
    assert!(Keystream::of_cipher(AES_256_CTR_HMAC_SHA256, &hex(KEY), &hex(NONCE)[1..]).is_err());
}

#[test]
fn a_digest_of_another_layer_is_refused_though_the_hmac_is_right() {
    let key = key(HMAC, Some(ZEROS_DIGEST));
    let (plain, end) = read_all(PlainReader::new(&*hex(ENCRYPTED), &key));
    assert!(matches!(end, Err(LayerError::DigestMismatch)));
    assert!(plain.is_empty());
}

#[test]
fn a_digest_that_may_be_of_another_blob_is_not_compared() {
    let key = key(HMAC, Some(ZEROS_DIGEST)).with_digest_of_any_blob();
    assert_eq!((key.digest().as_deref(), key.compared_digest()), (Some(ZEROS_DIGEST), None));
    let (plain, end) = read_all(PlainReader::new(&*hex(ENCRYPTED), &key));
    end.unwrap();
    assert_eq!(plain, PLAIN);
}

/// With a digest or without one, a guest that writes anything but the plain layer is found out.
#[test]
fn a_witness_sees_what_comes_out() {
    let other_digest = key(HMAC, Some(ZEROS_DIGEST)).with_digest_of_any_blob();
    for key in [key(HMAC, Some(SHA256)), key(HMAC, None), other_digest] {
        let told = |plain: &[u8]| {
            let mut witness = Witness::new(&key);
            witness.encrypted(&hex(ENCRYPTED)).unwrap();
            plain.chunks(7).for_each(|piece| witness.plain(piece));
            witness.finish()
        };
        told(PLAIN).unwrap();
        let mut altered = PLAIN.to_vec();
        altered[PLAIN.len() / 2] ^= 1;
        for wrong in [&altered[..], &PLAIN[1..], &PLAIN[..PLAIN.len() - 1], b""] {
            assert!(told(wrong).is_err(), "{} bytes", wrong.len());
        }
    }
}

#[test]
fn a_source_that_fails_is_not_the_end_of_the_layer() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let encrypted = hex(ENCRYPTED);
    let (plain, end) = read_all(PlainReader::new(encrypted.chain(Broken), &key(HMAC, None)));
    assert!(matches!(end, Err(LayerError::Read(_))));
    assert!(plain.is_empty());
}

#[test]
fn malformed_keys_are_refused() {
    let good = |n| vec![0; n];
    let new = |cipher: &str, key: usize, nonce: usize, hmac: usize, digest| {
        LayerKey::new(cipher, &good(key), &good(nonce), &good(hmac), digest).err()
    };
    let aes = AES_256_CTR_HMAC_SHA256;
    assert!(new(aes, 32, 16, 32, None).is_none());
    assert!(matches!(new("ROT13", 32, 16, 32, None), Some(LayerKeyError::UnknownCipher(_))));
    for (key, nonce, hmac) in [(31, 16, 32), (33, 16, 32), (32, 12, 32), (32, 0, 32), (32, 16, 31)]
    {
        let error = new(aes, key, nonce, hmac, None);
        assert!(matches!(error, Some(LayerKeyError::WrongLength { .. })), "{key} {nonce} {hmac}");
    }
    for digest in
        ["", "sha256", "sha256:", "md5:00", "sha256:00", &SHA256.to_uppercase(), &SHA512[..71]]
    {
        let error = new(aes, 32, 16, 32, Some(digest));
        assert!(matches!(error, Some(LayerKeyError::MalformedDigest)), "{digest}");
    }
}

#[test]
fn a_layer_with_bytes_appended_does_not_come_out_whole() {
    for more in [1, 100, CHUNK, 20 * CHUNK] {
        let mut encrypted = encrypted_zeros();
        encrypted.resize(ZEROS + more, 0);
        let key = key(ZEROS_HMAC, None).with_length(Some(ZEROS as u64));
        let (plain, end) = read_all(PlainReader::new(&*encrypted, &key));
        assert!(matches!(end, Err(LayerError::TooLong { .. })), "{more} bytes more");
        assert!(plain.len() + CHUNK <= ZEROS, "{} bytes came out", plain.len());
    }
}

#[test]
fn a_layer_of_just_its_length_comes_out() {
    let key = key(ZEROS_HMAC, None).with_length(Some(ZEROS as u64));
    let (plain, end) = read_all(PlainReader::new(&*encrypted_zeros(), &key));
    assert!(end.is_ok());
    assert_eq!(plain.len(), ZEROS);
}
