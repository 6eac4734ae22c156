//! The ciphers that private keys are encrypted with, all in CBC mode (SP 800-38A).

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyInit, KeyIvInit};
use des::{Des, TdesEde3};
use zeroize::Zeroizing;

use crate::budget::cost;

/// A block cipher in CBC mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Des,
    TripleDes,
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    /// The length of the key in bytes.
    pub(super) fn key_length(self) -> usize {
        match self {
            Self::Des => 8,
            Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// The length of a block, and so of the initialization vector, in bytes.
    pub(super) fn block_length(self) -> usize {
        match self {
            Self::Des | Self::TripleDes => 8,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
        }
    }

    /// The cost of decrypting this many bytes.
    pub(super) fn cost(self, length: usize) -> u64 {
        let each = match self {
            Self::Des => cost::DES,
            Self::TripleDes => cost::TRIPLE_DES,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => cost::AES_CBC,
        };
        each.saturating_mul(length as u64)
    }

    /// Decrypts and removes the padding (RFC 5652, section 6.3). None for every error: the length of
    /// key, vector or ciphertext, or the padding.
    pub(super) fn decrypt(
        self,
        key: &[u8],
        iv: &[u8],
        ciphertext: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Des => decrypt::<Des>(key, iv, ciphertext),
            Self::TripleDes => decrypt::<TdesEde3>(key, iv, ciphertext),
            Self::Aes128 => decrypt::<Aes128>(key, iv, ciphertext),
            Self::Aes192 => decrypt::<Aes192>(key, iv, ciphertext),
            Self::Aes256 => decrypt::<Aes256>(key, iv, ciphertext),
        }
    }
}

fn decrypt<C>(key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>>
where
    C: BlockCipherDecrypt + KeyInit,
    cbc::Decryptor<C>: InnerIvInit<Inner = C> + BlockModeDecrypt,
{
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let mut text = Zeroizing::new(ciphertext.to_vec());
    let length = cipher.decrypt_padded::<Pkcs7>(&mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for cipher in
            [Cipher::Des, Cipher::TripleDes, Cipher::Aes128, Cipher::Aes192, Cipher::Aes256]
        {
            let (key, block) = (vec![1; cipher.key_length()], cipher.block_length());
            for length in (0..=2 * block).filter(|length| *length != block) {
                assert!(cipher.decrypt(&key, &vec![0; length], &vec![0; block]).is_none());
            }
            for length in 0..2 * block {
                let _ = cipher.decrypt(&key, &vec![0; block], &vec![0; length]);
            }
            assert!(cipher.decrypt(&key[1..], &vec![0; block], &vec![0; block]).is_none());
            assert!(cipher.decrypt(&key, &vec![0; block], &[]).is_none());
        }
    }
}
