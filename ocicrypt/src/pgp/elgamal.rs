//! ElGamal decryption (RFC 4880, sections 5.1 and 9.1), as GnuPG has it for the subkeys of DSA keys.
//!
//! The prime and the numbers of a message come from strangers and are not checked further: a result
//! is only used as a session key, and only the authentication of the data shows whether it was one.
//! The library's arithmetic takes the same time for every exponent of one length.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use zeroize::Zeroizing;

use crate::crypto::pkcs1v15;

/// The lengths of primes that are accepted, in bits. GnuPG makes keys of 1024 to 4096.
pub(super) const MIN_BITS: u32 = 1024;
pub(super) const MAX_BITS: u32 = 8192;

/// A secret ElGamal key. It is wiped when dropped.
pub(super) struct ElGamalKey {
    prime: Odd<BoxedUint>,
    /// The prime less one, less the secret exponent: its power is the inverse of the shared secret.
    exponent: Zeroizing<BoxedUint>,
}

impl ElGamalKey {
    /// Makes a key of big-endian numbers. None if the exponent is not below the prime less one.
    pub(super) fn new(prime: &[u8], exponent: &[u8]) -> Option<Self> {
        let prime = BoxedUint::from_be_slice_vartime(prime);
        let prime = Odd::new(prime).into_option()?;
        let exponent = BoxedUint::from_be_slice(exponent, prime.bits_precision()).ok();
        let exponent = Zeroizing::new(exponent?);
        let most = prime.wrapping_sub(BoxedUint::one_with_precision(prime.bits_precision()));
        if bool::from(exponent.is_zero()) || *exponent >= most {
            return None;
        }
        let exponent = Zeroizing::new(most.wrapping_sub(&*exponent));
        Some(Self { prime, exponent })
    }

    /// Decrypts a message of RSAES-PKCS1-v1_5's padding, for each of several lengths. As with RSA, a
    /// message of that length results, whatever the padding: one that was made up from the key and the
    /// ciphertext takes the place of one that is padded wrongly. None if the numbers are out of range.
    pub(super) fn decrypt_pkcs1v15_of_lengths(
        &self,
        lengths: &[usize],
        [ephemeral, masked]: [&[u8]; 2],
    ) -> Option<Vec<Zeroizing<Vec<u8>>>> {
        let params = BoxedMontyParams::new_vartime(self.prime.clone());
        let number = |bytes: &[u8]| {
            let number = BoxedUint::from_be_slice(bytes, self.prime.bits_precision()).ok();
            let number = number.filter(|number| number < self.prime.as_ref())?;
            Some(Zeroizing::new(BoxedMontyForm::new(number, &params)))
        };
        let power = Zeroizing::new(number(ephemeral)?.pow(&self.exponent));
        let message = Zeroizing::new(power.mul(&*number(masked)?));
        let message = Zeroizing::new(Zeroizing::new(message.retrieve()).to_be_bytes());
        // Whole machine words, of which the prime need not fill the first.
        let size = self.prime.bit_width_vartime().div_ceil(8) as usize;
        let encoded = &message[message.len() - size..];

        let secret = Zeroizing::new(self.exponent.to_be_bytes());
        let text = [ephemeral, masked].concat();
        let messages = lengths
            .iter()
            .map(|length| pkcs1v15::decode(encoded, pkcs1v15::made_up(&secret, &text, *length)));
        messages.collect()
    }
}
