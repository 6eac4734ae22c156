//! ECDH-ES with AES key wrap (RFC 7518, section 4.6).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::JweError;
use super::header::Header;
use crate::crypto::aes_kw::unwrap_aes_key;
use crate::encoding::base64;
use crate::encoding::text::printable;
use crate::keys::{KeyKind, PrivateKey};

/// The key agreement in a recipient's header.
pub(super) struct Agreement {
    alg: WrapAlgorithm,
    curve: KeyKind,
    x: Vec<u8>,
    y: Vec<u8>,
    apu: Vec<u8>,
    apv: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(super) enum WrapAlgorithm {
    Aes128,
    Aes192,
    Aes256,
}

impl WrapAlgorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Aes128, Self::Aes192, Self::Aes256].into_iter().find(|alg| alg.name() == name)
    }

    /// The name of the whole algorithm, which is an input of the key derivation.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "ECDH-ES+A128KW",
            Self::Aes192 => "ECDH-ES+A192KW",
            Self::Aes256 => "ECDH-ES+A256KW",
        }
    }

    /// The length of the wrapping key in bytes.
    pub(super) fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

impl Agreement {
    pub(super) fn new(alg: &str, header: &Header) -> Result<Self, JweError> {
        let alg = WrapAlgorithm::named(alg)
            .ok_or_else(|| JweError::UnsupportedAlgorithm(printable(alg)))?;
        let epk = header.epk().ok_or(JweError::Malformed("no `epk`"))?;
        let (curve, size) = match (epk.kty.as_str(), epk.crv.as_str()) {
            ("EC", "P-256") => (KeyKind::P256, 32),
            ("EC", "P-384") => (KeyKind::P384, 48),
            ("EC", "P-521") => (KeyKind::P521, 66),
            _ => return Err(JweError::Malformed("`epk` is on no curve of the format")),
        };
        let decode = |text: &str, malformed| {
            let bytes = base64::url(text).map(|bytes| bytes.to_vec());
            bytes.ok_or(JweError::Malformed(malformed))
        };
        let [x, y] = [&epk.x, &epk.y].map(|text| decode(text, "`epk` is not base64url"));
        let (x, y) = (x?, y?);
        if x.len() != size || y.len() != size {
            return Err(JweError::Malformed("a coordinate of `epk` has the wrong length"));
        }
        Ok(Self {
            alg,
            curve,
            x,
            y,
            apu: decode(header.apu(), "`apu` is not base64url")?,
            apv: decode(header.apv(), "`apv` is not base64url")?,
        })
    }

    /// The name of the algorithm.
    pub(super) fn name(&self) -> &'static str {
        self.alg.name()
    }

    /// The curve of the ephemeral key, which is also that of every key that can fit.
    pub(super) fn curve(&self) -> KeyKind {
        self.curve
    }

    /// Agrees on a wrapping key and unwraps the content key; none if `key` does not fit.
    ///
    /// # Errors
    /// [`JweError::Malformed`] if the ephemeral key is not a point of its curve.
    pub(super) fn unwrap(
        &self,
        key: &PrivateKey,
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, JweError> {
        if key.as_rsa().is_some() {
            return Ok(None);
        }
        let shared = key.agree(&self.x, &self.y);
        let shared = shared.ok_or(JweError::Malformed("`epk` is not a point of its curve"))?;
        let block = derive(&shared, self.alg.name(), &self.apu, &self.apv, self.alg.key_length());
        let key = &block[..self.alg.key_length()];
        Ok(unwrap_aes_key(key, wrapped))
    }

    /// Passes everything that decides whether a key fits to the hash.
    pub(super) fn identify(&self, hash: &mut impl FnMut(&[u8])) {
        for part in [self.alg.name().as_bytes(), &self.x, &self.y, &self.apu, &self.apv] {
            hash(part);
        }
    }
}

/// Concat KDF with SHA-256 (SP 800-56A, section 5.8.2.1; RFC 7518, section 4.6.2). One round yields 32
/// bytes; a key of `length` bytes is the first part of them.
pub(super) fn derive(
    shared: &[u8],
    alg: &str,
    apu: &[u8],
    apv: &[u8],
    length: usize,
) -> Zeroizing<[u8; 32]> {
    let prefixed = |part: &[u8]| [&(part.len() as u32).to_be_bytes(), part].concat();
    let mut hash = Sha256::new();
    hash.update(1u32.to_be_bytes());
    hash.update(shared);
    hash.update(prefixed(alg.as_bytes()));
    hash.update(prefixed(apu));
    hash.update(prefixed(apv));
    hash.update((8 * length as u32).to_be_bytes());
    Zeroizing::new(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518, appendix C.
    #[test]
    fn concat_kdf_of_the_standard() {
        let shared = [
            158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49,
            110, 163, 218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
        ];
        let key = derive(&shared, "A128GCM", b"Alice", b"Bob", 16);
        assert_eq!(crate::encoding::base64::encode_url(&key[..16]), "VqqN6vgjbSBcIijNcacQGg");
    }
}
