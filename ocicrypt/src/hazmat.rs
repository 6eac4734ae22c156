//! Raw operations with keys, for callers who know why the rest of the crate does not expose them.
//!
//! Their results are not authenticated, or reveal more than [`unwrap`](mod@crate::unwrap) does to an
//! attacker who measures or compares them.

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

pub use crate::crypto::aes_kw::unwrap_aes_key;
use crate::keys::{OaepHash, OaepRefusal, PrivateKey, RsaKey};

/// ECDH (SP 800-56A, section 5.7.1.2) with the public point whose affine coordinates are `x` and `y`.
/// The shared secret is as long as the field. None if the key is not on an elliptic curve, a
/// coordinate has another length than the field, or the point is not on the curve.
pub fn agree(key: &PrivateKey, x: &[u8], y: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    key.agree(x, y)
}

/// RSAES-OAEP decryption (RFC 8017, section 7.1.2) with an empty label, blinded with `rng`; `mask` is
/// the hash function of the mask generation.
///
/// # Errors
/// [`OaepRefusal::WrongKey`], [`OaepRefusal::NoRandomness`].
pub fn decrypt_oaep<R: TryCryptoRng + ?Sized>(
    key: &RsaKey,
    hash: OaepHash,
    mask: OaepHash,
    ciphertext: &[u8],
    rng: &mut R,
) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
    key.decrypt_oaep_masked(hash, mask, ciphertext, rng)
}

/// RSAES-PKCS1-v1_5 decryption (RFC 8017, section 7.2.2) of a message of `length` bytes, blinded with
/// `rng`. It returns a message of that length for every padding: if the padding is wrong or the message
/// has another length, the result is made up from the key and the ciphertext, so that nobody can tell
/// which it was (RFC 3218, section 2.3.2). The caller must authenticate what was encrypted with it.
///
/// # Errors
/// [`OaepRefusal::WrongKey`] if the lengths of ciphertext and modulus, which are public, do not match;
/// [`OaepRefusal::NoRandomness`].
pub fn decrypt_pkcs1v15<R: TryCryptoRng + ?Sized>(
    key: &RsaKey,
    length: usize,
    ciphertext: &[u8],
    rng: &mut R,
) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
    key.decrypt_pkcs1v15(length, ciphertext, rng)
}
