//! Verifying a layer that somebody else decrypts.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Digest, Hasher, LayerError, LayerKey};

/// Sees what goes into a decryptor that is not trusted, and what comes out of it, and tells at the
/// end whether the layer was genuine and came out right.
pub struct Witness {
    mac: Hmac<Sha256>,
    expected_hmac: [u8; 32],
    digest: Option<(Hasher, Digest)>,
    /// Bytes that may still follow, and of how many.
    left: Option<(u64, u64)>,
}

impl Witness {
    /// For the layer that `key` opens.
    pub fn new(key: &LayerKey) -> Self {
        Self {
            mac: <Hmac<Sha256> as KeyInit>::new_from_slice(&*key.key)
                .expect("HMAC takes a key of any length"),
            expected_hmac: key.hmac,
            digest: key.digest.clone().map(|digest| (Hasher::new(digest.kind), digest)),
            left: key.length.map(|length| (length, length)),
        }
    }

    /// The next bytes of the encrypted layer.
    ///
    /// # Errors
    /// [`LayerError::TooLong`], before the genuine part of the layer could come out whole.
    pub fn encrypted(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        if let Some((left, length)) = &mut self.left {
            let rest = left.checked_sub(bytes.len() as u64);
            *left = rest.ok_or(LayerError::TooLong { length: *length })?;
        }
        self.mac.update(bytes);
        Ok(())
    }

    /// The next bytes of what is said to be the plain layer.
    pub fn plain(&mut self, bytes: &[u8]) {
        if let Some((hasher, _)) = &mut self.digest {
            hasher.update(bytes);
        }
    }

    /// Compares HMAC and digest, in constant time, with what the layer key demands. Without a
    /// sealed digest only the HMAC is checked, and so what went in but not what came out.
    ///
    /// # Errors
    /// [`LayerError::HmacMismatch`], [`LayerError::DigestMismatch`].
    pub fn finish(self) -> Result<(), LayerError> {
        let found = self.mac.finalize().into_bytes();
        if !bool::from(found.as_slice().ct_eq(&self.expected_hmac)) {
            return Err(LayerError::HmacMismatch);
        }
        if let Some((hasher, expected)) = self.digest
            && !bool::from(hasher.finish().ct_eq(&expected.value))
        {
            return Err(LayerError::DigestMismatch);
        }
        Ok(())
    }
}
