//! RSA public keys (RFC 8017, section 3.1), and both ways to encrypt with them.

use ::rsa::rand_core::TryCryptoRng;
use ::rsa::traits::PublicKeyParts;
use ::rsa::{BoxedUint, Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::{PublicKeyError, WrapError};
use crate::crypto::oaep::OaepHash;
use crate::crypto::rng::NoRandomness;
use crate::keys::rsa::public_key_info;
use crate::keys::{Fingerprint, MAX_BITS};

/// The shortest modulus that is accepted, in bits (SP 800-131A, section 6).
pub(crate) const MIN_BITS: u32 = 2048;

/// An RSA public key of [`MIN_BITS`] to [`MAX_BITS`] bits.
#[derive(Clone)]
pub(crate) struct RsaPublicKey(::rsa::PublicKey);

impl RsaPublicKey {
    /// Makes a key of the modulus and the exponent, big-endian.
    pub(crate) fn new(n: &[u8], e: &[u8]) -> Result<Self, PublicKeyError> {
        // This check comes before any computation, because the input may have any length.
        let zeros = n.iter().take_while(|byte| **byte == 0).count();
        let bits =
            (n.len() - zeros) * 8 - n.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
        let bits = u32::try_from(bits).unwrap_or(u32::MAX);
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(PublicKeyError::RsaSize(bits));
        }
        let e = e.iter().position(|byte| *byte != 0).map_or(&[][..], |start| &e[start..]);
        let malformed = || PublicKeyError::Malformed("RSA");
        // The crate supports exponents below 2³³.
        if e.is_empty() || e.len() > 5 {
            return Err(malformed());
        }
        let n = BoxedUint::from_be_slice_vartime(&n[zeros..]);
        let key = ::rsa::PublicKey::new_with_size_limits(
            n,
            BoxedUint::from_be_slice_vartime(e),
            MIN_BITS as usize..=MAX_BITS as usize,
        );
        key.map(Self).map_err(|_| malformed())
    }

    /// The length of the modulus in bits.
    pub(crate) fn bits(&self) -> u32 {
        self.0.n().bit_width_vartime()
    }

    /// The fingerprint of the key.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let numbers = (self.0.n().to_be_bytes(), self.0.e().to_be_bytes());
        Fingerprint::of(&public_key_info(&numbers.0, &numbers.1))
    }

    /// RSAES-OAEP encryption (RFC 8017, section 7.1.1) with an empty label. The mask generation
    /// has the same hash function.
    pub(crate) fn encrypt_oaep<R: TryCryptoRng + ?Sized>(
        &self,
        hash: OaepHash,
        plain: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>, WrapError> {
        let key = &self.0;
        let encrypted = match hash {
            OaepHash::Sha1 => key.encrypt(rng, Oaep::<Sha1>::new(), plain),
            OaepHash::Sha224 => key.encrypt(rng, Oaep::<Sha224>::new(), plain),
            OaepHash::Sha256 => key.encrypt(rng, Oaep::<Sha256>::new(), plain),
            OaepHash::Sha384 => key.encrypt(rng, Oaep::<Sha384>::new(), plain),
            OaepHash::Sha512 => key.encrypt(rng, Oaep::<Sha512>::new(), plain),
        };
        encrypted.map_err(|error| self.refusal(error, plain.len(), hash.name()))
    }

    /// RSAES-PKCS1-v1_5 encryption (RFC 8017, section 7.2.1).
    pub(crate) fn encrypt_pkcs1v15<R: TryCryptoRng + ?Sized>(
        &self,
        plain: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>, WrapError> {
        let encrypted = self.0.encrypt(rng, Pkcs1v15Encrypt, plain);
        encrypted.map_err(|error| self.refusal(error, plain.len(), "PKCS#1 v1.5"))
    }

    /// RSASSA-PKCS1-v1_5 verification (RFC 8017, section 8.2.2). The leading zeros of the signature may
    /// be missing.
    pub(crate) fn verifies(&self, scheme: Pkcs1v15Sign, digest: &[u8], signature: &[u8]) -> bool {
        let mut padded = vec![0; self.0.size().saturating_sub(signature.len())];
        padded.extend_from_slice(signature);
        self.0.verify(scheme, digest, &padded).is_ok()
    }

    fn refusal(&self, error: ::rsa::Error, needed: usize, padding: &'static str) -> WrapError {
        match error {
            ::rsa::Error::MessageTooLong => {
                WrapError::KeyTooShort { bits: self.bits(), needed, padding }
            }
            // The key was checked when it was made, so this is the only other possible failure.
            _ => NoRandomness.into(),
        }
    }
}
