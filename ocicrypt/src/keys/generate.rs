//! New private keys, and the PEM forms of keys.

use p256::elliptic_curve::Generate;
use pkcs8::der::pem::{self, LineEnding};
use pkcs8::{AssociatedOid, EncodePrivateKey};
use rsa::rand_core::TryCryptoRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use zeroize::Zeroizing;

use super::{EcKey, KeyKind, Material, NotAKey, PrivateKey, RsaKey};
use crate::budget::Budget;
use crate::crypto::rng::NoRandomness;

/// The shortest RSA key that is made, in bits: the shortest that a layer key is wrapped for.
const MIN_NEW_BITS: u32 = 2048;

/// The longest RSA key that is made, in bits: longer ones are read, but to make one takes minutes.
const MAX_NEW_BITS: u32 = 8192;

/// Why no key was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The size of an RSA key is not accepted.
    #[error("an RSA key of {0} bits: {MIN_NEW_BITS} to {MAX_NEW_BITS} are made")]
    RsaSize(u32),
    /// The random number generator failed.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The library that makes keys failed.
    #[error("the key could not be made")]
    Failed,
}

impl From<NotAKey> for GenerateError {
    fn from(_: NotAKey) -> Self {
        Self::Failed
    }
}

impl PrivateKey {
    /// Makes a new key of this kind.
    ///
    /// # Errors
    /// [`GenerateError`].
    pub fn generate<R: TryCryptoRng + ?Sized>(
        kind: KeyKind,
        rng: &mut R,
    ) -> Result<Self, GenerateError> {
        let material = match kind {
            KeyKind::Rsa { bits } => Material::Rsa(rsa_key(bits, rng)?),
            KeyKind::P256 => Material::P256(EcKey::new(&scalar::<p256::NistP256, R>(rng)?, None)?),
            KeyKind::P384 => Material::P384(EcKey::new(&scalar::<p384::NistP384, R>(rng)?, None)?),
            KeyKind::P521 => Material::P521(EcKey::new(&scalar::<p521::NistP521, R>(rng)?, None)?),
        };
        Ok(material.into())
    }

    /// The private key as PKCS#8 (RFC 5958) in PEM (RFC 7468). None for numbers that the library does
    /// not encode, which only a key that was read from a file can have.
    pub fn to_pkcs8_pem(&self) -> Option<Zeroizing<String>> {
        let pem = match &self.material {
            Material::Rsa(key) => key.of_library().ok()?.to_pkcs8_pem(LineEnding::LF),
            Material::P256(key) => key.secret.to_pkcs8_pem(LineEnding::LF),
            Material::P384(key) => key.secret.to_pkcs8_pem(LineEnding::LF),
            Material::P521(key) => key.secret.to_pkcs8_pem(LineEnding::LF),
        };
        pem.ok()
    }

    /// The public key as `SubjectPublicKeyInfo` in PEM, which
    /// [`encrypt::Recipient::jwe`](crate::encrypt::Recipient::jwe) takes.
    pub fn public_key_pem(&self) -> String {
        let encoded = pem::encode_string("PUBLIC KEY", LineEnding::LF, &self.public_key_info());
        encoded.expect("the label is valid, and a key is short")
    }
}

fn scalar<C, R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Zeroizing<Vec<u8>>, NoRandomness>
where
    C: p256::elliptic_curve::CurveArithmetic + AssociatedOid,
{
    let secret = p256::elliptic_curve::SecretKey::<C>::try_generate_from_rng(rng);
    let secret = secret.map_err(|_| NoRandomness)?;
    let bytes = Zeroizing::new(secret.to_bytes());
    Ok(Zeroizing::new(bytes.to_vec()))
}

fn rsa_key<R: TryCryptoRng + ?Sized>(bits: u32, rng: &mut R) -> Result<RsaKey, GenerateError> {
    if !(MIN_NEW_BITS..=MAX_NEW_BITS).contains(&bits) {
        return Err(GenerateError::RsaSize(bits));
    }
    let key = rsa::PrivateKey::new(rng, bits as usize).map_err(|error| match error {
        rsa::Error::Rng => NoRandomness.into(),
        _ => GenerateError::Failed,
    })?;
    let numbers = key.primes().iter().map(|prime| Zeroizing::new(prime.to_be_bytes()));
    let primes: Vec<_> = numbers.collect();
    let primes: Vec<&[u8]> = primes.iter().map(|prime| &***prime).collect();
    let (n, e) = (key.n().to_be_bytes(), key.e().to_be_bytes());
    let d = Zeroizing::new(key.d().to_be_bytes());
    Ok(RsaKey::new(&n, &e, &d, &primes, None, &mut Budget::new(u64::MAX))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back() {
        let kinds = [KeyKind::P256, KeyKind::P384, KeyKind::P521, KeyKind::Rsa { bits: 2048 }];
        for kind in kinds {
            let key = PrivateKey::generate(kind, &mut getrandom::SysRng).expect("a key");
            assert_eq!(key.kind(), kind);
            let pem = key.to_pkcs8_pem().expect("numbers that fit");
            let read = PrivateKey::parse(pem.as_bytes(), None);
            assert!(read.keys.iter().all(|read| read.is_same(&key)), "{kind}");
            assert_eq!(read.keys.len(), 1, "{kind}");
            assert_eq!(read.keys[0].fingerprint(), key.fingerprint(), "{kind}");
            let public = crate::encrypt::Recipient::jwe(key.public_key_pem().as_bytes());
            assert!(public.is_ok(), "{kind}: {public:?}");
        }
    }

    #[test]
    fn a_length_that_is_not_accepted() {
        for bits in [0, 1024, 2047, MAX_NEW_BITS + 1, u32::MAX] {
            let made = PrivateKey::generate(KeyKind::Rsa { bits }, &mut getrandom::SysRng);
            assert_eq!(made.err(), Some(GenerateError::RsaSize(bits)));
        }
    }
}
