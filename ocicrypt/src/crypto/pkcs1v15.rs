//! RSAES-PKCS1-v1_5 decoding (RFC 8017, section 7.2.2, step 3) that never reveals a failure.
//!
//! The `rsa` crate has implicit rejection too, but its made-up message has a made-up length. A key of
//! the wrong length would save the time for the content, and so could be distinguished. Here the length
//! is known in advance.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

/// Extracts the message, which has the same length as `instead`, from `encoded`, which is as long as
/// the modulus. If there is no message, it returns `instead`. Both cases take the same steps. None if
/// the modulus is too short for such a message, which is not secret.
pub(crate) fn decode(encoded: &[u8], instead: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    /// The bytes around the message: a zero and a two, at least eight bytes of padding, and a zero.
    const AROUND: usize = 11;
    let start = encoded.len().checked_sub(instead.len())?;
    if start < AROUND {
        return None;
    }
    let (padded, found) = encoded.split_at(start);
    let mut valid = padded[0].ct_eq(&0) & padded[1].ct_eq(&2) & padded[start - 1].ct_eq(&0);
    valid &= padded[2..start - 1].iter().fold(Choice::from(1), |all, byte| all & !byte.ct_eq(&0));
    let mut message = instead;
    for (byte, found) in message.iter_mut().zip(found) {
        byte.conditional_assign(found, valid);
    }
    Some(message)
}

/// A message of `length` bytes that nobody can predict, but that is always the same for one key and one
/// ciphertext: otherwise a second attempt would distinguish it from a real one. This follows
/// draft-irtf-cfrg-rsa-guidance, section 7.2.
pub(crate) fn made_up(exponent: &[u8], ciphertext: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let key = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(exponent)));
    let mut message = Zeroizing::new(vec![0; length]);
    for (counter, piece) in message.chunks_mut(32).enumerate() {
        // HMAC accepts a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_ref()) else { continue };
        mac.update(ciphertext);
        mac.update(&(counter as u32).to_be_bytes());
        let block = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        piece.copy_from_slice(&block[..piece.len()]);
    }
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn decoded(encoded: &[u8]) -> Vec<u8> {
        decode(encoded, Zeroizing::new(vec![7; 4])).unwrap().to_vec()
    }

    #[test]
    fn only_perfect_padding_counts() {
        let good: Vec<_> = [&[0, 2][..], &[9; 13], &[0, 1, 2, 3, 4]].concat();
        assert_eq!(decoded(&good), [1, 2, 3, 4]);
        for position in 0..16 {
            let mut bad = good.clone();
            bad[position] = if bad[position] == 9 { 0 } else { 5 };
            assert_eq!(decoded(&bad), [7; 4], "{position}");
        }
        assert!(decode(&good[..14], Zeroizing::new(vec![7; 4])).is_none());
        assert!(decode(&good[..3], Zeroizing::new(vec![7; 4])).is_none());
    }

    #[test]
    fn what_is_made_up_depends_on_everything() {
        let one = made_up(b"key", b"text", 40);
        assert_eq!(one, made_up(b"key", b"text", 40));
        assert_ne!(one, made_up(b"kez", b"text", 40));
        assert_ne!(one, made_up(b"key", b"texu", 40));
        assert_ne!(one[..8], one[32..]);
    }
}
