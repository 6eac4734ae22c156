//! String-to-key (RFC 9580, section 3.7): derives keys from passwords.

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::PgpError;
use super::reader::Reader;
use crate::budget::cost;

/// The least number of bytes that are hashed at once.
const PIECE: usize = 8192;

/// How a key is derived from a password.
pub(super) struct S2k {
    hash: Hash,
    salt: Vec<u8>,
    /// How many bytes are hashed; salt and password are hashed at least once.
    count: usize,
}

/// A parsed specifier.
pub(super) enum Specifier {
    Key(S2k),
    /// GnuPG's extension: there is no secret key, only a note where it is.
    Stub,
}

/// Hash functions (section 9.5).
#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(super) fn of_id(id: u8) -> Result<Self, PgpError> {
        let name = match id {
            2 => return Ok(Self::Sha1),
            8 => return Ok(Self::Sha256),
            9 => return Ok(Self::Sha384),
            10 => return Ok(Self::Sha512),
            11 => return Ok(Self::Sha224),
            1 => "MD5",
            3 => "RIPEMD-160",
            12 => "SHA3-256",
            14 => "SHA3-512",
            _ => return Err(PgpError::unsupported_number("hash function", id)),
        };
        Err(PgpError::unsupported("hash function", name))
    }
}

impl S2k {
    /// Reads a specifier.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Specifier, PgpError> {
        let cut = PgpError::Malformed("a string-to-key specifier is cut off");
        let kind = reader.u8().ok_or(cut.clone())?;
        let has_salt = match kind {
            0 => false,
            1 | 3 => true,
            4 => return Err(PgpError::unsupported("string-to-key function", "Argon2")),
            101 => return Ok(Specifier::Stub),
            _ => return Err(PgpError::unsupported_number("string-to-key function", kind)),
        };
        let hash = Hash::of_id(reader.u8().ok_or(cut.clone())?)?;
        let salt = if has_salt { reader.take(8).ok_or(cut.clone())? } else { &[] };
        let count = match kind {
            // One byte encodes at most 65,011,712, which bounds the work.
            3 => {
                let coded = reader.u8().ok_or(cut)?;
                (16 + usize::from(coded & 15)) << (usize::from(coded >> 4) + 6)
            }
            _ => 0,
        };
        Ok(Specifier::Key(Self { hash, salt: salt.to_vec(), count }))
    }

    /// The cost of a key of `length` bytes.
    pub(super) fn cost(&self, password: &[u8], length: usize) -> u64 {
        let size = match self.hash {
            Hash::Sha1 => 20,
            Hash::Sha224 => 28,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        };
        let hashed = self.count.max(self.salt.len() + password.len()) * length.div_ceil(size);
        (hashed as u64).saturating_mul(cost::HASHED)
    }

    /// Derives the key of `length` bytes from `password`.
    pub(super) fn derive(&self, password: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
        match self.hash {
            Hash::Sha1 => self.derive_with::<Sha1>(password, length),
            Hash::Sha224 => self.derive_with::<Sha224>(password, length),
            Hash::Sha256 => self.derive_with::<Sha256>(password, length),
            Hash::Sha384 => self.derive_with::<Sha384>(password, length),
            Hash::Sha512 => self.derive_with::<Sha512>(password, length),
        }
    }

    fn derive_with<D: Digest>(&self, password: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
        let once = self.salt.len() + password.len();
        let mut left = self.count.max(once);
        let times = PIECE.div_ceil(once.max(1)).min(left.div_ceil(once.max(1)));
        let mut piece = Zeroizing::new(Vec::with_capacity(once * times));
        for _ in 0..times {
            piece.extend_from_slice(&self.salt);
            piece.extend_from_slice(password);
        }
        let size = <D as Digest>::output_size();
        // A key that is longer than a hash needs several hashes: each one begins with one zero byte
        // more than the one before.
        let mut hashes: Vec<_> =
            (0..length.div_ceil(size)).map(|zeros| D::new().chain_update(vec![0; zeros])).collect();
        while left > 0 {
            let part = &piece[..left.min(piece.len())];
            hashes.iter_mut().for_each(|hash| hash.update(part));
            left -= part.len();
        }
        let mut key = Zeroizing::new(Vec::with_capacity(hashes.len() * size));
        for hash in hashes {
            key.extend_from_slice(&hash.finalize());
        }
        key.truncate(length);
        key
    }
}
