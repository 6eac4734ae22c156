//! Authenticated encryption (RFC 9580, sections 5.13.2 and 9.6) with OCB and GCM, in chunks.

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::consts::{U12, U15};
use aes_gcm::aead::{AeadInOut, KeyInit};
use hmac::{Hmac, Mac};
use ocb3::Ocb3;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::PgpError;
use super::cipher::Cipher;

/// The length of every tag in bytes.
pub(super) const TAG: usize = 16;

/// A mode of authenticated encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Ocb,
    Gcm,
}

impl Mode {
    pub(super) fn of_id(id: u8) -> Result<Self, PgpError> {
        match id {
            1 => Err(PgpError::unsupported("mode", "EAX")),
            2 => Ok(Self::Ocb),
            3 => Ok(Self::Gcm),
            _ => Err(PgpError::unsupported_number("mode", id)),
        }
    }

    pub(super) fn id(self) -> u8 {
        match self {
            Self::Ocb => 2,
            Self::Gcm => 3,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ocb => "OCB",
            Self::Gcm => "GCM",
        }
    }

    /// The length of a nonce in bytes.
    pub(super) fn nonce_length(self) -> usize {
        match self {
            Self::Ocb => 15,
            Self::Gcm => 12,
        }
    }

    /// Verifies and decrypts. The tag is at the end of `sealed`. None if it does not verify.
    pub(super) fn open(
        self,
        cipher: Cipher,
        key: &[u8],
        nonce: &[u8],
        associated: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let open = match (self, cipher) {
            (Self::Ocb, Cipher::Aes128) => open::<Ocb3<Aes128, U15>>,
            (Self::Ocb, Cipher::Aes192) => open::<Ocb3<Aes192, U15>>,
            (Self::Ocb, Cipher::Aes256) => open::<Ocb3<Aes256, U15>>,
            (Self::Gcm, Cipher::Aes128) => open::<AesGcm<Aes128, U12>>,
            (Self::Gcm, Cipher::Aes192) => open::<AesGcm<Aes192, U12>>,
            (Self::Gcm, Cipher::Aes256) => open::<AesGcm<Aes256, U12>>,
            (_, Cipher::TripleDes | Cipher::Cast5) => return None,
        };
        open(key, nonce, associated, sealed)
    }
}

fn open<A: AeadInOut + KeyInit>(
    key: &[u8],
    nonce: &[u8],
    associated: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (text, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
    let mut text = Zeroizing::new(text.to_vec());
    let (nonce, tag) = (nonce.try_into().ok()?, tag.try_into().ok()?);
    let cipher = A::new_from_slice(key).ok()?;
    cipher.decrypt_inout_detached(nonce, associated, text.as_mut_slice().into(), tag).ok()?;
    Some(text)
}

/// Data that is sealed in chunks.
pub(super) struct Chunked<'a> {
    pub(super) cipher: Cipher,
    pub(super) mode: Mode,
    pub(super) key: &'a [u8],
    /// The beginning of the associated data of every chunk.
    pub(super) header: &'a [u8],
    /// Whether the associated data continues with the number of the chunk.
    pub(super) numbered: bool,
    pub(super) nonce: Nonce<'a>,
    /// The length of a chunk without its tag, in the encoding of the format.
    pub(super) chunk: u8,
}

/// How the nonce of each chunk is made.
pub(super) enum Nonce<'a> {
    /// A prefix, followed by the number of the chunk (RFC 9580).
    Prefix(&'a [u8]),
    /// A nonce whose last bytes are combined with the number of the chunk without carry (GnuPG).
    Mixed(&'a [u8]),
}

impl Nonce<'_> {
    fn of_chunk(&self, number: u64) -> Vec<u8> {
        let number = number.to_be_bytes();
        match self {
            Self::Prefix(prefix) => [prefix, &number[..]].concat(),
            Self::Mixed(start) => {
                let mut nonce = start.to_vec();
                nonce.iter_mut().rev().zip(number.iter().rev()).for_each(|(n, i)| *n ^= i);
                nonce
            }
        }
    }
}

impl Chunked<'_> {
    /// Verifies and decrypts everything: each chunk, then the tag over the total length. Nothing is
    /// returned before that, so truncated data is never mistaken for complete data.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (chunks, last) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(chunks.len()));
        let mut number = 0;
        for chunk in chunks.chunks((1 << (self.chunk + 6)) + TAG) {
            plain.extend_from_slice(&self.open_one(number, &[], chunk)?);
            number += 1;
        }
        self.open_one(number, &(plain.len() as u64).to_be_bytes(), last)?;
        Some(plain)
    }

    fn open_one(&self, number: u64, length: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut associated = self.header.to_vec();
        if self.numbered {
            associated.extend_from_slice(&number.to_be_bytes());
        }
        associated.extend_from_slice(length);
        self.mode.open(self.cipher, self.key, &self.nonce.of_chunk(number), &associated, sealed)
    }
}

/// The largest chunk size that is accepted (section 5.13.2): 4 MiB.
pub(super) const MAX_CHUNK: u8 = 16;

/// HKDF with SHA-256 (RFC 5869); `length` is at most 255 hashes.
pub(super) fn hkdf(secret: &[u8], salt: &[u8], info: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let extracted = hmac(salt, &[secret]);
    let mut output = Zeroizing::new(Vec::with_capacity(length + 32));
    let mut block = Zeroizing::new([0; 32]);
    let mut counter = 0u8;
    while output.len() < length {
        counter += 1;
        let previous = if counter == 1 { &[][..] } else { &block[..] };
        block = hmac(&extracted[..], &[previous, info, &[counter]]);
        output.extend_from_slice(&block[..]);
    }
    output.truncate(length);
    output
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    // A key that is longer than a block is hashed, and a shorter one is padded, so every length is
    // valid.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, appendix A.1.
    #[test]
    fn hkdf_of_the_standard() {
        let salt: Vec<u8> = (0..=12).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let output = hkdf(&[0x0b; 22], &salt, &info, 42);
        let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }
}
