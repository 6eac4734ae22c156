//! RSAES-PKCS1-v1_5 (RFC 8017, section 7.2; RFC 9580, section 5.1.3), without a padding oracle.

use rsa::rand_core::TryCryptoRng;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::PgpError;
use crate::key::{OaepRefusal, RsaKey};

/// The key that is gone on with where nothing was for this key: random, so that no one can have
/// encrypted anything with it.
pub(super) struct FakeKey(pub(super) Zeroizing<Vec<u8>>);

impl FakeKey {
    pub(super) fn new<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, PgpError> {
        let mut key = Zeroizing::new(vec![0; 32]);
        rng.try_fill_bytes(&mut key).map_err(|_| PgpError::NoRandomness)?;
        Ok(Self(key))
    }
}

/// Decrypts; none if the padding is wrong, which the caller must not let anyone see.
pub(super) fn decrypt<R: TryCryptoRng + ?Sized>(
    key: &RsaKey,
    number: &[u8],
    rng: &mut R,
) -> Result<Option<Zeroizing<Vec<u8>>>, PgpError> {
    // As an integer of the format it has lost its leading zeros.
    let mut ciphertext = vec![0; key.size().saturating_sub(number.len())];
    ciphertext.extend_from_slice(number);
    match key.decrypt_raw(&ciphertext, rng) {
        Ok(encoded) => Ok(decode(&encoded)),
        Err(OaepRefusal::NoRandomness) => Err(PgpError::NoRandomness),
        Err(OaepRefusal::WrongKey) => Ok(None),
    }
}

/// Zero, two, at least eight bytes that are not zero, zero, and the message. In time that tells
/// nothing before the end.
fn decode(encoded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (head, padded) = encoded.split_at_checked(2)?;
    let mut valid = head.ct_eq(&[0, 2]);
    let mut found = Choice::from(0);
    let mut start = 0u32;
    for (index, byte) in padded.iter().enumerate() {
        let is_zero = byte.ct_eq(&0);
        start = u32::conditional_select(&start, &(index as u32 + 1), !found & is_zero);
        valid &= !(is_zero & Choice::from(u8::from(index < 8)));
        found |= is_zero;
    }
    bool::from(valid & found).then(|| Zeroizing::new(padded[start as usize..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_padded_and_what_is_not() {
        let good = [&[0, 2][..], &[1; 8], &[0], b"message"].concat();
        assert_eq!(decode(&good).as_deref().map(Vec::as_slice), Some(&b"message"[..]));
        for (place, value) in [(0, 1), (1, 1), (1, 0), (2, 0), (9, 0)] {
            let mut bad = good.clone();
            bad[place] = value;
            assert!(decode(&bad).is_none(), "{place}");
        }
        assert!(decode(&[&[0, 2][..], &[1; 20]].concat()).is_none());
        for length in 0..11 {
            assert!(decode(&good[..length]).is_none(), "{length}");
        }
    }
}
