//! A layer that is encrypted with a key that everybody knows.

use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use keycell_tests::sealed::hmac;

/// Longer than what the host holds back until all is verified, and no multiple of any buffer.
pub const LARGE: usize = 3 * 1024 * 1024 + 4321;

/// So short that not one byte of it may come out before all is verified.
pub const SMALL: usize = 1000;

const KEY: [u8; 32] = *b"a key that everybody here knows.";
const NONCE: [u8; 16] = *b"and a nonce too.";

/// A layer, plain and encrypted.
pub struct Layer {
    /// What has to come out.
    pub plain: Vec<u8>,
    /// What goes in.
    pub encrypted: Vec<u8>,
    hmac: [u8; 32],
}

impl Layer {
    /// Some bytes, no two pages of which are the same.
    pub fn of(length: usize) -> Self {
        Self::tagged(length, u8::MAX)
    }

    /// The same with this as the plain layer's first byte: the only input that `decrypt` can get.
    pub fn tagged(length: usize, tag: u8) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        let mut plain: Vec<u8> = (0..length).map(|_| next()).collect();
        plain[0] = tag;
        let mut encrypted = plain.clone();
        ctr::Ctr128BE::<Aes256>::new(&KEY.into(), &NONCE.into()).apply_keystream(&mut encrypted);
        let hmac = hmac(&KEY, &encrypted);
        Self { plain, encrypted, hmac }
    }

    /// What the fixtures take for a payload: the key as it is, and a note for the attack.
    pub fn payload(&self, note: &str) -> Vec<u8> {
        let length = (self.plain.len() as u64).to_le_bytes();
        [&KEY[..], &NONCE, &self.hmac, &length, note.as_bytes()].concat()
    }
}
