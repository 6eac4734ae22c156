//! RSAES-OAEP decoding (RFC 8017, section 7.1.2, step 3), with an empty label.
//!
//! The `rsa` crate decodes OAEP too, but ignores the first octet of the encoded message, which must be
//! zero according to the standard.

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

/// The hash function of RSAES-OAEP or of its mask generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OaepHash {
    /// SHA-1, as in the JWE algorithm `RSA-OAEP`.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256, as in the JWE algorithm `RSA-OAEP-256`.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl OaepHash {
    /// The name, as in `SHA-256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The hash of the concatenated `parts`.
    fn digest(self, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        fn of<D: Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
            let mut hash = D::new();
            parts.iter().for_each(|part| hash.update(part));
            Zeroizing::new(hash.finalize().to_vec())
        }
        match self {
            Self::Sha1 => of::<Sha1>(parts),
            Self::Sha224 => of::<Sha224>(parts),
            Self::Sha256 => of::<Sha256>(parts),
            Self::Sha384 => of::<Sha384>(parts),
            Self::Sha512 => of::<Sha512>(parts),
        }
    }
}

/// Extracts the message from `encoded`, which is as long as the modulus. The time reveals nothing
/// except whether it is well-formed, and only at the end.
pub(crate) fn decode(
    hash: OaepHash,
    mask: OaepHash,
    encoded: &mut [u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let empty_label = hash.digest(&[]);
    let size = empty_label.len();
    if encoded.len() < 2 * size + 2 {
        return None;
    }
    let (first, rest) = encoded.split_first_mut()?;
    let (seed, block) = rest.split_at_mut(size);
    unmask(mask, seed, block);
    unmask(mask, block, seed);
    let (label, padded) = block.split_at(size);
    let mut valid = first.ct_eq(&0) & label.ct_eq(&empty_label);
    // The padding is zeros and a one; then the message follows.
    let mut found = Choice::from(0);
    let mut start = 0u32;
    for (index, byte) in padded.iter().enumerate() {
        let is_one = byte.ct_eq(&1);
        start = u32::conditional_select(&start, &(index as u32 + 1), !found & is_one);
        found |= is_one;
        valid &= found | byte.ct_eq(&0);
    }
    bool::from(valid & found).then(|| Zeroizing::new(padded[start as usize..].to_vec()))
}

/// MGF1 (RFC 8017, appendix B.2.1): combines `target` with the mask that `seed` yields.
fn unmask(hash: OaepHash, target: &mut [u8], seed: &[u8]) {
    let mut rest = target;
    for counter in 0u32.. {
        let mask = hash.digest(&[seed, &counter.to_be_bytes()]);
        let (piece, more) = rest.split_at_mut(mask.len().min(rest.len()));
        piece.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
        if more.is_empty() {
            return;
        }
        rest = more;
    }
}
