//! Content encryption (RFC 7518, section 5).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::JweError;
use super::message::Message;
use crate::budget::{Budget, Exhausted, cost};
use crate::encoding::text::printable;

/// A content encryption algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    A128Gcm,
    A192Gcm,
    A256Gcm,
    A128CbcHs256,
    A192CbcHs384,
    A256CbcHs512,
}

impl Encryption {
    pub(super) fn named(name: &str) -> Result<Self, JweError> {
        match name {
            "A128GCM" => Ok(Self::A128Gcm),
            "A192GCM" => Ok(Self::A192Gcm),
            "A256GCM" => Ok(Self::A256Gcm),
            "A128CBC-HS256" => Ok(Self::A128CbcHs256),
            "A192CBC-HS384" => Ok(Self::A192CbcHs384),
            "A256CBC-HS512" => Ok(Self::A256CbcHs512),
            other => Err(JweError::UnsupportedEncryption(printable(other))),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::A128Gcm => "A128GCM",
            Self::A192Gcm => "A192GCM",
            Self::A256Gcm => "A256GCM",
            Self::A128CbcHs256 => "A128CBC-HS256",
            Self::A192CbcHs384 => "A192CBC-HS384",
            Self::A256CbcHs512 => "A256CBC-HS512",
        }
    }

    /// Pays for decrypting the content.
    pub(super) fn pay(self, message: &Message, budget: &mut Budget) -> Result<(), Exhausted> {
        let each = match self {
            Self::A128Gcm | Self::A192Gcm | Self::A256Gcm => cost::AES_GCM,
            Self::A128CbcHs256 | Self::A192CbcHs384 | Self::A256CbcHs512 => {
                cost::AES_CBC + cost::HASHED
            }
        };
        budget.spend_on_bytes(message.ciphertext.len() + message.aad.len(), each)
    }

    /// The length of the content key in bytes: for CBC-HS, that of the MAC key and the AES key.
    pub(super) fn key_length(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A192Gcm => 24,
            Self::A256Gcm | Self::A128CbcHs256 => 32,
            Self::A192CbcHs384 => 48,
            Self::A256CbcHs512 => 64,
        }
    }

    /// Checks the lengths of initialization vector, tag and ciphertext.
    pub(super) fn check(self, message: &Message) -> Result<(), JweError> {
        let (iv, tag, block) = match self {
            Self::A128Gcm | Self::A192Gcm | Self::A256Gcm => (12, 16, 1),
            Self::A128CbcHs256 => (16, 16, 16),
            Self::A192CbcHs384 => (16, 24, 16),
            Self::A256CbcHs512 => (16, 32, 16),
        };
        if message.iv.len() != iv {
            return Err(JweError::Malformed("the initialization vector has the wrong length"));
        }
        if message.tag.len() != tag {
            return Err(JweError::Malformed("the tag has the wrong length"));
        }
        // CBC pads every content, so that even an empty one has a block.
        let empty = block > 1 && message.ciphertext.is_empty();
        if empty || !message.ciphertext.len().is_multiple_of(block) {
            return Err(JweError::Malformed("the ciphertext has the wrong length"));
        }
        Ok(())
    }

    /// Verifies and decrypts with a content key of the right length; none if it does not verify.
    pub(super) fn decrypt(self, key: &[u8], message: &Message) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::A128Gcm => gcm::<Aes128Gcm>(key, message),
            Self::A192Gcm => gcm::<AesGcm<Aes192, U12>>(key, message),
            Self::A256Gcm => gcm::<Aes256Gcm>(key, message),
            Self::A128CbcHs256 => cbc_hs::<Hmac<Sha256>, Aes128>(key, message),
            Self::A192CbcHs384 => cbc_hs::<Hmac<Sha384>, Aes192>(key, message),
            Self::A256CbcHs512 => cbc_hs::<Hmac<Sha512>, Aes256>(key, message),
        }
    }
}

/// AES-GCM (RFC 7518, section 5.3).
fn gcm<A: AeadInOut + KeyInit>(key: &[u8], message: &Message) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = A::new_from_slice(key).ok()?;
    let nonce = message.iv.as_slice().try_into().ok()?;
    let tag = message.tag.as_slice().try_into().ok()?;
    let mut text = Zeroizing::new(message.ciphertext.clone());
    cipher.decrypt_inout_detached(nonce, &message.aad, text.as_mut_slice().into(), tag).ok()?;
    Some(text)
}

/// AES-CBC with HMAC-SHA2 (RFC 7518, section 5.2.2.2). The MAC is verified first, so that the padding
/// reveals nothing to anyone who does not know the key.
fn cbc_hs<M, C>(key: &[u8], message: &Message) -> Option<Zeroizing<Vec<u8>>>
where
    M: Mac + hmac::KeyInit,
    C: BlockCipherDecrypt + aes::cipher::KeyInit,
    cbc::Decryptor<C>: InnerIvInit<Inner = C> + BlockModeDecrypt,
{
    let (mac_key, aes_key) = key.split_at(key.len() / 2);
    let mut mac = <M as hmac::KeyInit>::new_from_slice(mac_key).ok()?;
    mac.update(&message.aad);
    mac.update(&message.iv);
    mac.update(&message.ciphertext);
    mac.update(&(message.aad.len() as u64 * 8).to_be_bytes());
    let computed = mac.finalize().into_bytes();
    if !bool::from(computed[..message.tag.len()].ct_eq(&message.tag)) {
        return None;
    }
    let cipher = cbc::Decryptor::<C>::new_from_slices(aes_key, &message.iv).ok()?;
    let mut text = Zeroizing::new(message.ciphertext.clone());
    let length = cipher.decrypt_padded::<Pkcs7>(&mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}
