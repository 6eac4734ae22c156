//! Private keys whose opening has a cost. They are opened when they are needed.

use zeroize::Zeroizing;

use super::encrypted::EncryptedKey;
use crate::budget::{Budget, cost};
use crate::keys::{Material, NotAKey, PrivateKey, RsaKey};

/// A key that is not open yet. Its secret parts are wiped when dropped.
pub(crate) struct ClosedKey(pub(in crate::keys) Form);

pub(in crate::keys) enum Form {
    /// It is encrypted, and there is a password.
    Encrypted(EncryptedKey),
    /// An RSA key whose file lacks the primes: finding them takes longer than using the key.
    WithoutPrimes { n: Zeroizing<Vec<u8>>, e: Zeroizing<Vec<u8>>, d: Zeroizing<Vec<u8>> },
}

impl ClosedKey {
    /// The cost of opening it.
    pub(crate) fn cost(&self) -> u64 {
        match &self.0 {
            Form::Encrypted(key) => key.cost(),
            Form::WithoutPrimes { n, .. } => {
                cost::rsa_factors(u32::try_from(n.len() * 8).unwrap_or(u32::MAX))
            }
        }
    }

    /// Opens the key. The caller has paid [`ClosedKey::cost`]; `budget` is for checking the numbers.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub(crate) fn open(&self, budget: &mut Budget) -> Result<PrivateKey, NotAKey> {
        match &self.0 {
            Form::Encrypted(key) => key.open(budget),
            Form::WithoutPrimes { n, e, d } => {
                RsaKey::new(n, e, d, &[], None, budget).map(|key| Material::Rsa(key).into())
            }
        }
    }
}
