//! RSA private keys (RFC 8017, section 3.2) and the one operation that they are for.

mod detour;

use std::sync::OnceLock;

use crypto_bigint::{ConcatenatingMul, NonZero, Odd};
use pkcs1::ALGORITHM_ID;
use pkcs8::SubjectPublicKeyInfoRef;
use pkcs8::der::Encode;
use pkcs8::der::asn1::{BitStringRef, UintRef};
use rsa::BoxedUint;
use rsa::hazmat::rsa_decrypt_and_check;
use rsa::rand_core::TryCryptoRng;
use rsa::traits::PrivateKeyParts;
use zeroize::Zeroizing;

use self::detour::Detour;
use super::{NotAKey, Work};
use crate::budget::{Budget, cost};
use crate::crypto::oaep::{self, OaepHash};
use crate::crypto::pkcs1v15;

/// The shortest modulus that is accepted, in bits. Short keys are weak, but who can factor one
/// has no need of us: refusing to decrypt protects nobody.
pub const MIN_BITS: u32 = 1024;

/// The longest modulus that is accepted, in bits: it bounds the time that one key can take.
pub const MAX_BITS: u32 = 16_384;

/// Bits of the longest public exponent: the library computes with no longer ones.
const MAX_EXPONENT_BITS: u32 = 33;

/// Primes of one key: OpenSSL makes keys of up to five.
const MAX_PRIMES: usize = 5;

/// An RSA private key of [`MIN_BITS`] to [`MAX_BITS`] bits. Wipes itself when dropped.
///
/// The library's own inverts a number for each key file that is read, which takes ten times as long
/// as all that is checked here; it is only made where the library has to decrypt.
pub struct RsaKey {
    pub(super) n: Odd<BoxedUint>,
    pub(super) e: u64,
    d: Zeroizing<BoxedUint>,
    pub(super) primes: Vec<Prime>,
    /// The inverse of the second prime modulo the first.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "only the sandbox computes with it")
    )]
    coefficient: Zeroizing<BoxedUint>,
    /// Whether the library had to decrypt, and whether that has been paid for.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "only the sandbox computes with it")
    )]
    detour: Detour,
    library: OnceLock<Box<rsa::PrivateKey>>,
}

/// The numbers of a key that fit each other. The coefficient is missing if the file states none, or
/// a wrong one.
struct Checked {
    n: Odd<BoxedUint>,
    e: u64,
    d: Zeroizing<BoxedUint>,
    primes: Vec<Prime>,
    coefficient: Option<Zeroizing<BoxedUint>>,
}

/// A prime of a key, and what the private exponent is modulo the prime less one.
pub(super) struct Prime {
    pub(super) number: Zeroizing<Odd<BoxedUint>>,
    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "only the sandbox computes with it")
    )]
    pub(super) exponent: Zeroizing<BoxedUint>,
}

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
    ///
    /// The coefficient, the inverse of the second prime modulo the first, is computed if there is
    /// none, or if it is none.
    pub(crate) fn new(
        n: &[u8],
        e: &[u8],
        d: &[u8],
        primes: &[&[u8]],
        coefficient: Option<&[u8]>,
        budget: &mut Budget,
    ) -> Result<Self, NotAKey> {
        let bits = Self::check_size(n)?;
        // Before any computing: what is not read here may be of any length.
        let sane = (2..=MAX_EXPONENT_BITS).contains(&bit_length(e))
            && (2..=bits).contains(&bit_length(d))
            && primes.len() <= MAX_PRIMES
            && primes.iter().all(|prime| (2..=bits).contains(&bit_length(prime)));
        if !sane {
            return Err(NotAKey::Inconsistent);
        }
        let too_much = |_| NotAKey::TooMuchWork(Work::Together);
        budget.spend(cost::rsa_check(bits)).map_err(too_much)?;
        let key = Self::checked(n, e, d, primes, coefficient).ok_or(NotAKey::Inconsistent)?;
        let Checked { n, e, d, primes, coefficient } = key;
        let coefficient = match coefficient {
            Some(coefficient) => coefficient,
            None => {
                budget.spend(cost::rsa_inverse(primes[0].bits())).map_err(too_much)?;
                inverse(&primes[1].number, &primes[0].number).ok_or(NotAKey::Inconsistent)?
            }
        };
        Ok(Self {
            n,
            e,
            d,
            primes,
            coefficient,
            detour: Detour::default(),
            library: OnceLock::new(),
        })
    }

    /// The length of a modulus in bits, if it is accepted.
    pub(crate) fn check_size(n: &[u8]) -> Result<u32, NotAKey> {
        let bits = bit_length(n);
        let is_accepted = (MIN_BITS..=MAX_BITS).contains(&bits);
        if is_accepted { Ok(bits) } else { Err(NotAKey::RsaSize(bits)) }
    }

    /// Checks all that the library does. None if a number does not fit the others.
    fn checked(
        n: &[u8],
        e: &[u8],
        d: &[u8],
        primes: &[&[u8]],
        coefficient: Option<&[u8]>,
    ) -> Option<Checked> {
        let n = number(n, bit_length(n))?;
        let (e, d) = (number(e, 64)?, number(d, n.bits_precision())?);
        let n = Odd::new((*n).clone()).into_option().filter(|n| *d < **n)?;
        let half = n.bit_width_vartime().div_ceil(2);
        let mut found = Vec::new();
        if primes.is_empty() {
            let (n, e, d) = (n.as_ref().clone(), (*e).clone(), (*d).clone());
            let key = rsa::PrivateKey::from_components(n, e, d, Vec::new()).ok()?;
            found.extend(key.primes().iter().map(|prime| Zeroizing::new(prime.as_ref().clone())));
        }
        // The library's rule: nothing that is computed shows which of two primes is the longer.
        let wide = primes.iter().any(|prime| bit_length(prime) > half);
        let width = if wide { n.bit_width_vartime() } else { half };
        for prime in primes {
            found.push(number(prime, width)?);
        }
        let mut product = Zeroizing::new(BoxedUint::one());
        for (i, prime) in found.iter().enumerate() {
            product = Zeroizing::new(product.concatenating_mul(&**prime));
            if found[..i].contains(prime) {
                return None;
            }
        }
        if *product != *n {
            return None;
        }
        let primes = found.iter().map(|prime| Prime::new(prime, &e, &d));
        let primes = primes.collect::<Option<Vec<_>>>()?;
        let (p, q) = (&primes.first()?.number, &primes.get(1)?.number);
        let stated = coefficient.and_then(|stated| number(stated, p.bits_precision()));
        let coefficient = stated.filter(|stated| is_one(stated, q, p.as_nz_ref()));
        Some(Checked { n, e: e.as_words()[0], d, primes, coefficient })
    }

    /// The length of the modulus in bits.
    pub fn bits(&self) -> u32 {
        self.n.bit_width_vartime()
    }

    /// The length of the modulus, and so of everything encrypted for this key, in bytes.
    pub fn size(&self) -> usize {
        self.bits().div_ceil(8) as usize
    }

    /// RSAES-OAEP decryption (RFC 8017, section 7.1.2) with an empty label, blinded with `rng`.
    /// The mask generation has the same hash function.
    ///
    /// # Errors
    /// [`OaepRefusal::WrongKey`], [`OaepRefusal::NoRandomness`].
    pub(crate) fn decrypt_oaep<R: TryCryptoRng + ?Sized>(
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
    pub(crate) fn decrypt_oaep_masked<R: TryCryptoRng + ?Sized>(
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
    pub(crate) fn decrypt_pkcs1v15<R: TryCryptoRng + ?Sized>(
        &self,
        length: usize,
        ciphertext: &[u8],
        rng: &mut R,
    ) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
        let mut decrypted = self.decrypt_pkcs1v15_of_lengths(&[length], ciphertext, rng)?;
        decrypted.pop().ok_or(OaepRefusal::WrongKey)
    }

    /// As [`RsaKey::decrypt_pkcs1v15`], with one private-key operation for several lengths: a
    /// message of each of them.
    pub(crate) fn decrypt_pkcs1v15_of_lengths<R: TryCryptoRng + ?Sized>(
        &self,
        lengths: &[usize],
        ciphertext: &[u8],
        rng: &mut R,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, OaepRefusal> {
        let encoded = self.decrypt_raw(ciphertext, rng)?;
        let messages = lengths.iter().map(|length| {
            let instead = self.made_up(ciphertext, *length);
            pkcs1v15::decode(&encoded, instead).ok_or(OaepRefusal::WrongKey)
        });
        messages.collect()
    }

    /// So many bytes that only who has the private key can compute from `text`, and always the same.
    pub(crate) fn made_up(&self, text: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
        let exponent = Zeroizing::new(self.d.to_be_bytes());
        pkcs1v15::made_up(&exponent, text, length)
    }

    /// RSADP (RFC 8017, section 5.1.2), blinded with `rng`: the message with its padding, as long
    /// as the modulus.
    ///
    /// # Errors
    /// [`OaepRefusal::WrongKey`] if the ciphertext is no number below the modulus and of its
    /// length, [`OaepRefusal::NoRandomness`].
    pub(super) fn decrypt_raw<R: TryCryptoRng + ?Sized>(
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
        let number = BoxedUint::from_be_slice(ciphertext, self.n.bits_precision());
        let number = number.map_err(|_| OaepRefusal::WrongKey)?;
        if number >= *self.n {
            return Err(OaepRefusal::WrongKey);
        }
        let decrypted = match self.decrypt_in_sandbox(&number, rng).map_err(refused)? {
            Some(message) => message,
            None => {
                let key = self.library().map_err(refused)?;
                let message = rsa_decrypt_and_check(key, Some(rng), &number);
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

    /// The words of all secret numbers.
    #[cfg(feature = "timing")]
    pub(super) fn secrets(&self) -> Vec<&[crypto_bigint::Word]> {
        let mut secrets = vec![self.d.as_words(), self.coefficient.as_words()];
        for Prime { number, exponent } in &self.primes {
            secrets.extend([number.as_words(), exponent.as_words()]);
        }
        secrets
    }

    /// The message by the arithmetic for WebAssembly. None where the library has to decrypt.
    #[cfg(target_arch = "wasm32")]
    fn decrypt_in_sandbox<R: TryCryptoRng + ?Sized>(
        &self,
        number: &BoxedUint,
        rng: &mut R,
    ) -> Result<Option<Zeroizing<BoxedUint>>, rsa::Error> {
        use ocicrypt_arithmetic::rsa::{self as ours, Key};
        let message = match &self.primes[..] {
            [p, q] => {
                let primes = [p, q]
                    .map(|prime| ours::Prime { number: &prime.number, exponent: &prime.exponent });
                let key = Key { n: &self.n, e: self.e, primes, coefficient: &self.coefficient };
                ours::decrypt(&key, number, rng).map_err(|_| rsa::Error::Rng)?
            }
            _ => None,
        };
        if message.is_none() {
            self.detour.takes_it();
        }
        Ok(message)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn decrypt_in_sandbox<R: TryCryptoRng + ?Sized>(
        &self,
        _: &BoxedUint,
        _: &mut R,
    ) -> Result<Option<Zeroizing<BoxedUint>>, rsa::Error> {
        Ok(None)
    }

    /// The key as the library has it, put together once.
    fn library(&self) -> Result<&rsa::PrivateKey, rsa::Error> {
        if self.library.get().is_none() {
            let key = self.of_library()?;
            let _ = self.library.set(Box::new(key)); // another thread may have been faster
        }
        self.library.get().map(|key| &**key).ok_or(rsa::Error::Internal)
    }

    /// The key as the library has it, with all that can be computed from the numbers above computed.
    pub(super) fn of_library(&self) -> Result<rsa::PrivateKey, rsa::Error> {
        let primes: Vec<_> = self.primes.iter().map(|prime| (**prime.number).clone()).collect();
        let wide = primes.iter().any(|prime| prime.bits_precision() == self.n.bits_precision());
        let new = if wide {
            rsa::PrivateKey::from_components_with_wide_primes
        } else {
            rsa::PrivateKey::from_components
        };
        new(self.n.as_ref().clone(), BoxedUint::from(self.e), (*self.d).clone(), primes)
    }

    /// DER `SubjectPublicKeyInfo`.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        public_key_info(&self.n.to_be_bytes(), &self.e.to_be_bytes())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.n == other.n && self.e == other.e
    }
}

impl Prime {
    /// The length that it is computed with, in bits: that of the longer prime.
    fn bits(&self) -> u32 {
        self.number.bits_precision()
    }

    /// None if the number is even, or the exponents are not each other's inverses modulo it less one.
    fn new(number: &BoxedUint, e: &BoxedUint, d: &BoxedUint) -> Option<Self> {
        let number = Zeroizing::new(Odd::new(number.clone()).into_option()?);
        let order = Zeroizing::new(number.wrapping_sub(BoxedUint::one()));
        let order = Zeroizing::new(order.to_nz().into_option()?);
        let exponent = Zeroizing::new(d.rem(&order));
        is_one(&exponent, e, &order).then_some(Self { number, exponent })
    }
}

/// DER `SubjectPublicKeyInfo` of big-endian numbers.
pub(crate) fn public_key_info(n: &[u8], e: &[u8]) -> Vec<u8> {
    let encoded = UintRef::new(n).and_then(|modulus| {
        let key = pkcs1::RsaPublicKey { modulus, public_exponent: UintRef::new(e)? }.to_der()?;
        let subject_public_key = BitStringRef::from_bytes(&key)?;
        SubjectPublicKeyInfoRef { algorithm: ALGORITHM_ID, subject_public_key }.to_der()
    });
    encoded.unwrap_or_default()
}

/// The inverse of `number` modulo `modulus`.
fn inverse(number: &BoxedUint, modulus: &Odd<BoxedUint>) -> Option<Zeroizing<BoxedUint>> {
    let rest = Zeroizing::new(number.rem(modulus.as_nz_ref()));
    rest.invert_odd_mod(modulus).into_option().map(Zeroizing::new)
}

/// Whether `x` · `y` is 1 modulo `modulus`.
fn is_one(x: &BoxedUint, y: &BoxedUint, modulus: &NonZero<BoxedUint>) -> bool {
    let product = Zeroizing::new(x.concatenating_mul(y));
    Zeroizing::new(product.rem(modulus)).is_one().to_bool()
}

/// A big-endian number with the precision of so many bits. None if it has more.
fn number(bytes: &[u8], bits: u32) -> Option<Zeroizing<BoxedUint>> {
    if bit_length(bytes) > bits {
        return None;
    }
    BoxedUint::from_be_slice(trim(bytes), bits).ok().map(Zeroizing::new)
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

#[cfg(test)]
mod tests;
