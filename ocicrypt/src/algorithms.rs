//! The algorithms that a layer key was wrapped with, and which of them are legacy.

use std::borrow::Cow;
use std::fmt;

use crate::crypto::oaep::OaepHash;

/// Which algorithms may have wrapped a layer key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MinAlgorithms {
    /// All algorithms of the format: a drop-in opens what the original opens.
    #[default]
    Legacy,
    /// Only algorithms that are considered secure today. PKCS#1 v1.5, SHA-1 in OAEP and in the key
    /// derivation of ECDH, content without authentication, DES, 3DES, CAST5 and RSA below 2048 bits are
    /// refused.
    Modern,
}

/// The shortest modern RSA modulus, in bits (SP 800-131A, section 6).
const MIN_RSA_BITS: u32 = 2048;

/// An algorithm by its name. The algorithm of a key provider is known only to the provider, and is not
/// judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithm {
    name: Cow<'static, str>,
    is_legacy: bool,
}

impl Algorithm {
    /// RSAES-PKCS1-v1_5, in CMS and in OpenPGP.
    pub(crate) const PKCS1_V1_5: Self = Self::legacy("RSAES-PKCS1-v1_5");

    pub(crate) const fn modern(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), is_legacy: false }
    }

    pub(crate) const fn legacy(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), is_legacy: true }
    }

    /// RSA with a modulus of `bits` bits.
    pub(crate) fn rsa(bits: u32) -> Self {
        Self { name: format!("RSA-{bits}").into(), is_legacy: bits < MIN_RSA_BITS }
    }

    /// RSAES-OAEP with this hash for the label and the mask.
    pub(crate) fn oaep(hash: OaepHash) -> Self {
        match hash {
            OaepHash::Sha1 => Self::legacy("RSA-OAEP with SHA-1"),
            OaepHash::Sha224 => Self::modern("RSA-OAEP with SHA-224"),
            OaepHash::Sha256 => Self::modern("RSA-OAEP with SHA-256"),
            OaepHash::Sha384 => Self::modern("RSA-OAEP with SHA-384"),
            OaepHash::Sha512 => Self::modern("RSA-OAEP with SHA-512"),
        }
    }

    /// Whether [`MinAlgorithms::Modern`] refuses it.
    pub fn is_legacy(&self) -> bool {
        self.is_legacy
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// An algorithm is below the minimum. It holds the algorithm's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("`{0}` is a legacy algorithm, and only modern ones are accepted")]
pub struct BelowMinimum(pub String);

impl MinAlgorithms {
    /// Checks that all of these are accepted.
    ///
    /// # Errors
    /// [`BelowMinimum`] with the first that is not accepted.
    pub(crate) fn check<'a>(
        self,
        algorithms: impl IntoIterator<Item = &'a Algorithm>,
    ) -> Result<(), BelowMinimum> {
        if self == Self::Legacy {
            return Ok(());
        }
        match algorithms.into_iter().find(|algorithm| algorithm.is_legacy) {
            Some(algorithm) => Err(BelowMinimum(algorithm.to_string())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modern_refuses_the_first_legacy_algorithm_by_name() {
        let found = [Algorithm::modern("A"), Algorithm::rsa(2047), Algorithm::legacy("B")];
        assert_eq!(MinAlgorithms::Legacy.check(&found), Ok(()));
        assert_eq!(MinAlgorithms::Modern.check(&found), Err(BelowMinimum("RSA-2047".into())));
        assert_eq!(MinAlgorithms::Modern.check(&[Algorithm::rsa(2048)]), Ok(()));
    }
}
