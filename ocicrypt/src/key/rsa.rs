//! RSA private keys (RFC 8017, section 3.2) and the one operation that they are for.

use pkcs8::EncodePublicKey;
use rsa::BoxedUint;
use rsa::hazmat::rsa_decrypt_and_check;
use rsa::rand_core::TryCryptoRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use zeroize::Zeroizing;

use super::oaep::{self, OaepHash};
use super::{NotAKey, crt, pkcs1v15};

/// The shortest modulus that is accepted, in bits. Short keys are weak, but who can factor one
/// has no need of us: refusing to decrypt protects nobody.
pub const MIN_BITS: u32 = 1024;

/// The longest modulus that is accepted, in bits: it bounds the time that one key can take.
pub const MAX_BITS: u32 = 8192;

/// Public exponents are below 2³³; the crate that computes refuses longer ones.
const MAX_EXPONENT_BYTES: usize = 5;

/// Primes of one key: OpenSSL makes keys of up to five.
const MAX_PRIMES: usize = 5;

/// An RSA private key of [`MIN_BITS`] to [`MAX_BITS`] bits. Wipes itself when dropped.
pub struct RsaKey(rsa::PrivateKey);

/// Why nothing was decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OaepRefusal {
    /// The ciphertext is not for this key.
    WrongKey,
    /// The generator of random numbers failed.
    NoRandomness,
}

impl RsaKey {
    /// Puts a key together from big-endian numbers: the modulus, both exponents and two or more
    /// primes; without primes, two are computed. The numbers are checked against each other, but
    /// not whether the primes are prime: that takes long, and no one is harmed but the owner.
    pub(crate) fn new(n: &[u8], e: &[u8], d: &[u8], primes: &[&[u8]]) -> Result<Self, NotAKey> {
        let bits = bit_length(n);
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(NotAKey::RsaSize(bits));
        }
        let half = bits.div_ceil(2);
        let wide = primes.iter().any(|prime| bit_length(prime) > half);
        // The crate takes all of this for granted in one place or another.
        let sane = bit_length(e) > 1
            && bit_length(e) as usize <= MAX_EXPONENT_BYTES * 8
            && bit_length(d) > 1
            && bit_length(d) <= bits
            && primes.len() <= MAX_PRIMES
            && primes.iter().all(|prime| (2..=bits).contains(&bit_length(prime)));
        let number = |bytes| {
            BoxedUint::from_be_slice(trim(bytes), bit_length(bytes))
                .map_err(|_| NotAKey::Inconsistent)
        };
        if !sane {
            return Err(NotAKey::Inconsistent);
        }
        let parts = primes.iter().map(|prime| number(prime)).collect::<Result<Vec<_>, _>>()?;
        let (n, e, d) = (number(n)?, number(e)?, number(d)?);
        let key = if wide && primes.len() == 2 {
            rsa::PrivateKey::from_components_with_wide_primes(n, e, d, parts)
        } else {
            rsa::PrivateKey::from_components(n, e, d, parts)
        };
        key.map(Self).map_err(|_| NotAKey::Inconsistent)
    }

    /// The length of the modulus in bits.
    pub fn bits(&self) -> u32 {
        self.0.n().bit_width_vartime()
    }

    /// The length of the modulus, and so of everything encrypted for this key, in bytes.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// RSAES-OAEP decryption (RFC 8017, section 7.1.2) with an empty label, blinded with `rng`.
    /// The mask generation has the same hash function.
    ///
    /// # Errors
    /// [`OaepRefusal::WrongKey`], [`OaepRefusal::NoRandomness`].
    pub fn decrypt_oaep<R: TryCryptoRng + ?Sized>(
        &self,
        hash: OaepHash,
        ciphertext: &[u8],
        rng: &mut R,
    ) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
        self.decrypt_oaep_masked(hash, hash, ciphertext, rng)
    }

    /// As [`RsaKey::decrypt_oaep`], with a hash function of its own for the mask generation.
    ///
    /// # Errors
    /// [`OaepRefusal::WrongKey`], [`OaepRefusal::NoRandomness`].
    pub fn decrypt_oaep_masked<R: TryCryptoRng + ?Sized>(
        &self,
        hash: OaepHash,
        mask: OaepHash,
        ciphertext: &[u8],
        rng: &mut R,
    ) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
        let mut encoded = self.decrypt_raw(ciphertext, rng)?;
        oaep::decode(hash, mask, &mut encoded).ok_or(OaepRefusal::WrongKey)
    }

    /// RSAES-PKCS1-v1_5 decryption (RFC 8017, section 7.2.2) of a message of `length` bytes,
    /// blinded with `rng`. Such a message comes out whatever the padding: instead of one that is
    /// wrongly padded or of another length comes one that was made up from the key and the
    /// ciphertext, so that nobody learns which it was (RFC 3218, section 2.3.2). The caller must
    /// authenticate what was encrypted with it.
    ///
    /// # Errors
    /// [`OaepRefusal::WrongKey`] where the lengths of ciphertext and modulus, which all know, tell
    /// so already; [`OaepRefusal::NoRandomness`].
    pub fn decrypt_pkcs1v15<R: TryCryptoRng + ?Sized>(
        &self,
        length: usize,
        ciphertext: &[u8],
        rng: &mut R,
    ) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
        let encoded = self.decrypt_raw(ciphertext, rng)?;
        let exponent = Zeroizing::new(self.0.d().to_be_bytes());
        let instead = pkcs1v15::made_up(&exponent, ciphertext, length);
        pkcs1v15::decode(&encoded, instead).ok_or(OaepRefusal::WrongKey)
    }

    /// RSADP (RFC 8017, section 5.1.2), blinded with `rng`: the message with its padding, as long
    /// as the modulus.
    ///
    /// # Errors
    /// [`OaepRefusal::WrongKey`] if the ciphertext is no number below the modulus and of its
    /// length, [`OaepRefusal::NoRandomness`].
    pub(crate) fn decrypt_raw<R: TryCryptoRng + ?Sized>(
        &self,
        ciphertext: &[u8],
        rng: &mut R,
    ) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
        let refused = |error| match error {
            rsa::Error::Rng => OaepRefusal::NoRandomness,
            _ => OaepRefusal::WrongKey,
        };
        if ciphertext.len() != self.size() {
            return Err(OaepRefusal::WrongKey);
        }
        let number = BoxedUint::from_be_slice(ciphertext, self.0.n_bits_precision());
        let number = number.map_err(|_| OaepRefusal::WrongKey)?;
        if number >= *self.0.n().as_ref() {
            return Err(OaepRefusal::WrongKey);
        }
        let decrypted = match crt::decrypt(&self.0, &number, rng).map_err(refused)? {
            Some(message) => message,
            None => {
                let message = rsa_decrypt_and_check(&self.0, Some(rng), &number);
                Zeroizing::new(message.map_err(refused)?)
            }
        };
        let mut encoded = Zeroizing::new(decrypted.to_be_bytes().into_vec());
        // Whole machine words, of which the modulus need not fill the first.
        let unused = encoded.len().saturating_sub(self.size());
        let kept = encoded.len() - unused;
        encoded.copy_within(unused.., 0);
        encoded[kept..].fill(0);
        encoded.truncate(kept);
        Ok(encoded)
    }

    /// DER `SubjectPublicKeyInfo`.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        let encoded = self.0.as_public_key().to_public_key_der();
        encoded.map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.n() == other.0.n() && self.0.e() == other.0.e()
    }
}

/// The length of a big-endian number in bits.
fn bit_length(number: &[u8]) -> u32 {
    let number = trim(number);
    let bits = number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize);
    u32::try_from(bits).unwrap_or(u32::MAX)
}

fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
