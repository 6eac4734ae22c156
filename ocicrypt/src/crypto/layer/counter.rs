//! Counter mode (NIST SP 800-38A, 6.5) with a big-endian counter of 128 bits, for any implementation of
//! AES.

use zeroize::Zeroizing;

/// The least number of bytes that are encrypted at once: eight blocks.
pub const BATCH: usize = 8 * 16;

/// AES-256 (FIPS 197) in counter mode, for whole batches.
pub trait Cipher {
    /// Sets up the round keys of `key`.
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts or decrypts `batches` with the keystream that begins at the block `counter`.
    fn turn(&self, counter: u128, batches: &mut [[u8; BATCH]]);
}

#[cfg(any(target_arch = "wasm32", fuzzing, test))]
impl Cipher for ocicrypt_arithmetic::aes::Aes256 {
    fn new(key: &[u8; 32]) -> Self {
        Self::new(key)
    }

    fn turn(&self, counter: u128, batches: &mut [[u8; BATCH]]) {
        self.apply_keystream(counter, batches);
    }
}

/// AES-256-CTR, for bytes that come in pieces of any size.
pub struct CounterMode<C> {
    cipher: C,
    counter: u128,
    keystream: Zeroizing<[u8; BATCH]>,
    /// How much of `keystream` has been used.
    used: usize,
}

impl<C: Cipher> CounterMode<C> {
    /// Starts with `nonce` as the first counter block.
    pub fn new(key: &[u8; 32], nonce: &[u8; 16]) -> Self {
        Self {
            cipher: C::new(key),
            counter: u128::from_be_bytes(*nonce),
            keystream: Zeroizing::new([0; BATCH]),
            used: BATCH,
        }
    }

    /// Encrypts or decrypts the next bytes in place.
    pub fn apply_keystream(&mut self, bytes: &mut [u8]) {
        let left = bytes.len().min(BATCH - self.used);
        let (begun, bytes) = bytes.split_at_mut(left);
        xor(begun, &self.keystream[self.used..]);
        self.used += left;

        let (whole, rest) = bytes.as_chunks_mut::<BATCH>();
        self.cipher.turn(self.counter, whole);
        self.counter = after(self.counter, whole.len());
        if !rest.is_empty() {
            self.keystream.fill(0);
            self.cipher.turn(self.counter, std::slice::from_mut(&mut self.keystream));
            self.counter = after(self.counter, 1);
            xor(rest, &*self.keystream);
            self.used = rest.len();
        }
    }
}

/// The counter that follows `batches` batches after `counter`.
fn after(counter: u128, batches: usize) -> u128 {
    counter.wrapping_add(batches as u128 * (BATCH / 16) as u128)
}

/// Combines `bytes` with the same number of bytes of `keystream`.
#[inline(always)]
pub fn xor(bytes: &mut [u8], keystream: &[u8]) {
    bytes.iter_mut().zip(keystream).for_each(|(byte, with)| *byte ^= with);
}

#[cfg(test)]
mod tests {
    use ctr::cipher::{KeyIvInit, StreamCipher};
    use ocicrypt_arithmetic::aes::Aes256;

    use super::*;
    use crate::crypto::layer::library::Library;

    #[test]
    fn it_is_what_the_standard_says() {
        is_what_the_standard_says::<Library>();
        is_what_the_standard_says::<Aes256>();
    }

    /// NIST SP 800-38A, F.5.5: CTR-AES256.
    fn is_what_the_standard_says<C: Cipher>() {
        let hex = |text: &str| crate::crypto::layer::from_hex(text).expect("hexadecimal");
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let mut bytes = hex(concat!(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        ));
        let (key, counter) = (key.try_into().expect("32"), counter.try_into().expect("16"));
        CounterMode::<C>::new(&key, &counter).apply_keystream(&mut bytes);
        let expected = hex(concat!(
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
            "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ));
        assert_eq!(bytes, expected);
    }

    #[test]
    fn it_is_the_same_as_the_library_s_counter_mode() {
        is_the_same_as_the_library::<Library>();
        is_the_same_as_the_library::<Aes256>();
    }

    /// Tests pieces of all lengths, with many keys, and with an overflow of each part of the counter.
    fn is_the_same_as_the_library<C: Cipher>() {
        for seed in 0..64_u8 {
            let key: [u8; 32] = std::array::from_fn(|at| (at as u8).wrapping_mul(seed) ^ seed);
            let mut nonce = [seed.wrapping_mul(31); 16];
            if seed % 4 == 0 {
                let carries = [1, 4, 8, 16][usize::from(seed / 4) % 4];
                nonce[16 - carries..].fill(0xff);
                nonce[15] -= seed;
            }
            let mut expected = vec![seed; 40_000];
            let mut found = expected.clone();
            ctr::Ctr128BE::<aes::Aes256>::new((&key).into(), (&nonce).into())
                .apply_keystream(&mut expected);
            let mut mode = CounterMode::<C>::new(&key, &nonce);
            let mut rest = &mut found[..];
            for length in (0..).step_by(usize::from(seed) % 7 + 1) {
                let length = rest.len().min(length * length / 8);
                let (piece, behind) = rest.split_at_mut(length);
                mode.apply_keystream(piece);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            assert!(found == expected, "seed {seed}");
        }
    }
}
