//! RSAES-OAEP decoding (RFC 8017, section 7.1.2, step 3), with an empty label.
//!
//! The `rsa` crate decodes OAEP too, but ignores the first octet of the encoded message, which
//! the standard wants to be zero.

use sha2::Digest;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

/// Takes the message out of `encoded`, which is as long as the modulus. In time that tells
/// nothing but whether it is well-formed, and only at the end.
pub(super) fn decode<D: Digest>(encoded: &mut [u8]) -> Option<Zeroizing<Vec<u8>>> {
    let size = <D as Digest>::output_size();
    if encoded.len() < 2 * size + 2 {
        return None;
    }
    let (first, rest) = encoded.split_first_mut()?;
    let (seed, block) = rest.split_at_mut(size);
    mask::<D>(block, seed);
    mask::<D>(seed, block);
    let (label, padded) = block.split_at(size);
    let mut valid = first.ct_eq(&0) & label.ct_eq(&D::digest(b""));
    // Zeros, a one, and then the message.
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

/// MGF1 (RFC 8017, appendix B.2.1): adds the mask that `seed` yields to `target`.
fn mask<D: Digest>(seed: &[u8], target: &mut [u8]) {
    for (counter, piece) in target.chunks_mut(<D as Digest>::output_size()).enumerate() {
        let hash = D::new().chain_update(seed).chain_update((counter as u32).to_be_bytes());
        let hash = hash.finalize();
        piece.iter_mut().zip(hash).for_each(|(byte, mask)| *byte ^= mask);
    }
}
