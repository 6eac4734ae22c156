//! Symmetric ciphers (RFC 9580, section 9.3), and CFB as it is used for secret keys and SEIPD version
//! 1.

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use cast5::Cast5;
use cfb_mode::BufDecryptor;
use des::TdesEde3;

use super::PgpError;
use crate::algorithms::Algorithm;

/// A cipher of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    TripleDes,
    Cast5,
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    /// All ciphers.
    pub(super) const ALL: [Self; 5] =
        [Self::TripleDes, Self::Cast5, Self::Aes128, Self::Aes192, Self::Aes256];

    /// The cipher with this number. A number that the format does not have is refused, by name if it
    /// has one.
    pub(super) fn of_id(id: u8) -> Result<Self, PgpError> {
        let name = match id {
            2 => return Ok(Self::TripleDes),
            3 => return Ok(Self::Cast5),
            7 => return Ok(Self::Aes128),
            8 => return Ok(Self::Aes192),
            9 => return Ok(Self::Aes256),
            1 => "IDEA",
            4 => "Blowfish",
            10 => "Twofish",
            11..=13 => "Camellia",
            _ => return Err(PgpError::unsupported_number("cipher", id)),
        };
        Err(PgpError::unsupported("cipher", name))
    }

    /// As [`Cipher::of_id`], for modes that require blocks of 16 bytes.
    pub(super) fn aes_of_id(id: u8) -> Result<Self, PgpError> {
        match Self::of_id(id)? {
            Self::TripleDes | Self::Cast5 => {
                Err(PgpError::Malformed("a cipher that its mode does not have"))
            }
            aes => Ok(aes),
        }
    }

    /// Its name, and whether it is legacy.
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::TripleDes => Algorithm::legacy("3DES"),
            Self::Cast5 => Algorithm::legacy("CAST5"),
            Self::Aes128 => Algorithm::modern("AES-128"),
            Self::Aes192 => Algorithm::modern("AES-192"),
            Self::Aes256 => Algorithm::modern("AES-256"),
        }
    }

    pub(super) fn id(self) -> u8 {
        match self {
            Self::TripleDes => 2,
            Self::Cast5 => 3,
            Self::Aes128 => 7,
            Self::Aes192 => 8,
            Self::Aes256 => 9,
        }
    }

    /// The length of a key in bytes.
    pub(super) fn key_length(self) -> usize {
        match self {
            Self::Cast5 | Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// The length of a block in bytes.
    pub(super) fn block_length(self) -> usize {
        match self {
            Self::TripleDes | Self::Cast5 => 8,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
        }
    }

    /// Decrypts in CFB mode (SP 800-38A, section 6.3) with segments of a whole block. None if the
    /// key or the initialization vector has the wrong length.
    pub(super) fn decrypt_cfb(self, key: &[u8], iv: &[u8], text: &mut [u8]) -> Option<()> {
        match self {
            Self::TripleDes => decrypt::<TdesEde3>(key, iv, text),
            Self::Cast5 => decrypt::<Cast5>(key, iv, text),
            Self::Aes128 => decrypt::<Aes128>(key, iv, text),
            Self::Aes192 => decrypt::<Aes192>(key, iv, text),
            Self::Aes256 => decrypt::<Aes256>(key, iv, text),
        }
    }
}

fn decrypt<C: BlockCipherEncrypt + KeyInit>(key: &[u8], iv: &[u8], text: &mut [u8]) -> Option<()> {
    BufDecryptor::<C>::new_from_slices(key, iv).ok()?.decrypt(text);
    Some(())
}
