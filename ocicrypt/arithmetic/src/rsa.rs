//! RSADP by the Chinese remainder theorem (RFC 8017, section 5.1.2), blinded.
//!
//! For each prime, the ciphertext is multiplied with a random number's power, and the exponent gets a
//! random multiple of what it can be reduced by: who could measure how long it takes, though it is
//! written to take always as long, would learn nothing of the key. That is what the library does too,
//! but for a third blinding, of the modulus; it is this module's arithmetic that is faster.
//!
//! Nothing rests on that arithmetic alone: a result is only given out when the library, with
//! the public key, gets the ciphertext from it again. A fault in one of the halves, which would betray
//! the key (Boneh, DeMillo, Lipton, 1997), is found by that too.

mod modulus;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul, Odd, Resize};
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

pub use self::modulus::{Modulus, Residue};

/// The numbers of a key with two primes, which fit each other.
pub struct Key<'k> {
    /// The modulus.
    pub n: &'k Odd<BoxedUint>,
    /// The public exponent.
    pub e: u64,
    /// The primes.
    pub primes: [Prime<'k>; 2],
    /// The inverse of the second prime modulo the first.
    pub coefficient: &'k BoxedUint,
}

/// A prime of a key.
pub struct Prime<'k> {
    /// The prime itself.
    pub number: &'k Odd<BoxedUint>,
    /// What the private exponent is modulo the prime less one.
    pub exponent: &'k BoxedUint,
}

/// The generator of random numbers failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

/// Bits of the random number that an exponent is blinded with (draft-irtf-cfrg-rsa-guidance, section
/// 6.4: at least 64).
const EXPONENT_BLINDING: u32 = 64;

/// Bits of the random number whose power a ciphertext is blinded with: nobody guesses it.
const BASE_BLINDING: u32 = 128;

/// The message of `ciphertext`, which is below the modulus. `None` where the
/// result was found to be wrong.
///
/// # Errors
/// The generator of random numbers failed.
pub fn decrypt<R: TryCryptoRng + ?Sized>(
    key: &Key<'_>,
    ciphertext: &BoxedUint,
    rng: &mut R,
) -> Result<Option<Zeroizing<BoxedUint>>, NoRandomness> {
    let [p, q] = &key.primes;
    let modulo_p = power(ciphertext, p, key.e, rng)?;
    let modulo_q = power(ciphertext, q, key.e, rng)?;
    let (Some(modulo_p), Some(modulo_q)) = (modulo_p, modulo_q) else { return Ok(None) };

    // h = (mp - mq) / q modulo p, m = mq + h · q
    let (p, q) = (p.number.as_nz_ref(), q.number.as_ref());
    let bits = key.n.bits_precision();
    let reduced = Zeroizing::new(modulo_q.rem(p));
    let difference = Zeroizing::new(modulo_p.sub_mod(&reduced, p));
    let quotient = Zeroizing::new(difference.mul_mod(key.coefficient, p));
    let upper = Zeroizing::new(quotient.concatenating_mul(q).resize_unchecked(bits));
    let lower = Zeroizing::new((*modulo_q).clone().resize_unchecked(bits));
    let message = Zeroizing::new(upper.wrapping_add(&*lower));

    Ok(is_right(key, &message, ciphertext).then_some(message))
}

/// Whether `message` encrypts to `ciphertext`. The library's arithmetic, for one bit of the exponent
/// after the other: of the usual 65537, its own function makes more of a table than there is to compute.
fn is_right(key: &Key<'_>, message: &BoxedUint, ciphertext: &BoxedUint) -> bool {
    let (n, e) = (key.n, key.e);
    if message >= n.as_ref() {
        return false;
    }
    let params = BoxedMontyParams::new(n.clone());
    let base = Zeroizing::new(BoxedMontyForm::new(message.clone(), &params));
    let mut power = base.clone();
    for bit in (0..e.ilog2()).rev() {
        *power = power.square();
        if e >> bit & 1 == 1 {
            *power = power.mul(&base);
        }
    }
    power.retrieve() == *ciphertext
}

/// `ciphertext` to the power of the prime's exponent modulo `prime`. `None` if that is no prime.
fn power<R: TryCryptoRng + ?Sized>(
    ciphertext: &BoxedUint,
    prime: &Prime<'_>,
    e: u64,
    rng: &mut R,
) -> Result<Option<Zeroizing<BoxedUint>>, NoRandomness> {
    let Prime { number: prime, exponent } = prime;
    let bits = prime.bits_precision();
    let mut modulus = Modulus::new(prime.as_nz_ref());

    let Some((random, inverse)) = blinding(prime, rng)? else { return Ok(None) };
    let (random, inverse) = (modulus.residue(&random), modulus.residue(&inverse));
    let factor = modulus.power_of_public(&random, e);
    let blinded = modulus.residue(ciphertext);
    let blinded = modulus.product(&blinded, &factor);

    let order = Zeroizing::new(prime.wrapping_sub(BoxedUint::one()));
    let times = random_number(EXPONENT_BLINDING, rng)?;
    let mut long = Zeroizing::new(order.concatenating_mul(&*times));
    long.wrapping_add_assign(&*Zeroizing::new((*exponent).clone().resize_unchecked(bits)));

    let power = modulus.power(&blinded, &long);
    let power = modulus.product(&power, &inverse);
    Ok(Some(modulus.number(&power)))
}

/// A number, and what it has to be multiplied with to get 1.
type Pair = (Zeroizing<BoxedUint>, Zeroizing<BoxedUint>);

/// A random number and its inverse modulo `prime`. `None` if there is
/// no such number, as for something that is no prime.
///
/// The random number r is short: then its inverse is (1 + p · k) / r, where k is -1 / p modulo r, and only
/// that is to be inverted.
fn blinding<R: TryCryptoRng + ?Sized>(
    prime: &Odd<BoxedUint>,
    rng: &mut R,
) -> Result<Option<Pair>, NoRandomness> {
    let mut random = random_number(BASE_BLINDING, rng)?;
    random.as_mut_words()[0] |= 1;
    let Some(modulus) = random.to_odd().into_option() else { return Ok(None) };
    let modulus = Zeroizing::new(modulus);
    let rest = Zeroizing::new(prime.as_ref().rem(modulus.as_nz_ref()));
    let Some(inverse) = rest.invert_odd_mod(&modulus).into_option() else { return Ok(None) };
    let times = Zeroizing::new(random.wrapping_sub(&*Zeroizing::new(inverse)));
    let mut multiple = Zeroizing::new(prime.as_ref().concatenating_mul(&*times));
    multiple.wrapping_add_assign(BoxedUint::one());
    let (inverse, _) = multiple.div_rem(modulus.as_nz_ref());
    Ok(Some((random, Zeroizing::new(inverse))))
}

fn random_number<R: TryCryptoRng + ?Sized>(
    bits: u32,
    rng: &mut R,
) -> Result<Zeroizing<BoxedUint>, NoRandomness> {
    let mut bytes = Zeroizing::new(vec![0; bits as usize / 8]);
    rng.try_fill_bytes(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(Zeroizing::new(BoxedUint::from_be_slice(&bytes, bits).expect("as many bytes as bits")))
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;
    use rsa::hazmat::rsa_decrypt_and_check;
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::traits::{PrivateKeyParts, PublicKeyParts};

    use super::*;

    /// Calls `test` with a key of the tests as the library has it and as it is used here.
    fn with_key(name: &str, test: impl Fn(&rsa::PrivateKey, &Key<'_>)) {
        let path = format!("{}/../tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
        let pem = std::fs::read_to_string(&path).expect("a key of the tests");
        let library = rsa::PrivateKey::from_pkcs8_pem(&pem).expect("a key");
        let n = Odd::new(library.n().as_ref().clone()).expect("an odd modulus");
        let [p, q] = library.primes() else { panic!("not two primes") };
        let width = n.bits_precision() / 2;
        let [p, q] = [p, q].map(|prime| {
            let number: &BoxedUint = prime.as_ref();
            Odd::new(number.clone().resize_unchecked(width)).expect("an odd prime")
        });
        let exponent = |prime: &Odd<BoxedUint>| {
            let order = prime.wrapping_sub(BoxedUint::one()).to_nz().expect("not 0");
            library.d().rem(&order)
        };
        let rest = q.as_ref().rem(p.as_nz_ref());
        let coefficient = rest.invert_odd_mod(&p).expect("another prime");
        let (e_p, e_q) = (exponent(&p), exponent(&q));
        let primes = [Prime { number: &p, exponent: &e_p }, Prime { number: &q, exponent: &e_q }];
        let e = library.e().as_words()[0];
        test(&library, &Key { n: &n, e, primes, coefficient: &coefficient });
    }

    #[test]
    fn it_decrypts_as_the_library_does() {
        for name in ["rsa-1024.pkcs8.pem", "rsa-2048.pkcs8.pem", "rsa-4096.pkcs8.pem"] {
            with_key(name, |library, key| {
                let bits = key.n.bits_precision();
                let one = BoxedUint::one_with_precision(bits);
                let most = key.n.wrapping_sub(&one);
                let half = most.shr(1);
                for ciphertext in [BoxedUint::zero_with_precision(bits), one, half, most] {
                    let ours = decrypt(key, &ciphertext, &mut SysRng).ok().flatten();
                    let found = rsa_decrypt_and_check(library, Some(&mut SysRng), &ciphertext).ok();
                    assert!(found.is_some(), "{name}");
                    assert_eq!(ours.map(|it| (*it).clone()), found, "{name}");
                }
            });
        }
    }

    /// What is not below the modulus has no message.
    #[test]
    fn a_result_that_does_not_encrypt_to_the_ciphertext_is_none() {
        with_key("rsa-2048.pkcs8.pem", |_, key| {
            let ciphertext = key.n.wrapping_add(BoxedUint::from(42_u64));
            assert!(matches!(decrypt(key, &ciphertext, &mut SysRng), Ok(None)));
        });
    }
}
