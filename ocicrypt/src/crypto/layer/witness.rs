//! Verifies a layer that other code decrypts.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Digest, Hasher, Keystream, LayerError, LayerKey};

/// Observes the input and the output of a decryptor that is not trusted, and reports at the end whether
/// the layer was genuine and was decrypted correctly.
pub struct Witness {
    mac: Hmac<Sha256>,
    expected_hmac: [u8; 32],
    plain: Plain,
    /// How many bytes may still follow, and the length of the layer.
    left: Option<(u64, u64)>,
}

/// How the output is verified.
enum Plain {
    /// It must have the digest that was sealed.
    Digest(Hasher, Digest),
    /// No digest can be compared. Encrypted again, the output must have the HMAC of the layer.
    EncryptedAgain(Box<Keystream>, Hmac<Sha256>),
    /// It is something else than the plain layer, for example because it is decompressed.
    Unknown,
}

impl Witness {
    /// A witness that verifies only the encrypted layer, because the output is not the plain layer: it
    /// is decompressed, for example.
    pub fn of_input(key: &LayerKey) -> Self {
        Self { plain: Plain::Unknown, ..Self::new(key) }
    }

    /// A witness for the layer that `key` opens.
    pub fn new(key: &LayerKey) -> Self {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&*key.key)
            .expect("HMAC takes a key of any length");
        let plain = match key.digest.clone().filter(|_| key.is_digest_compared) {
            Some(digest) => Plain::Digest(Hasher::new(digest.kind), digest),
            None => Plain::EncryptedAgain(Box::new(Keystream::new(key)), mac.clone()),
        };
        Self {
            mac,
            expected_hmac: key.hmac,
            plain,
            left: key.length.map(|length| (length, length)),
        }
    }

    /// Takes the next bytes of the encrypted layer.
    ///
    /// # Errors
    /// [`LayerError::TooLong`], before the genuine part of the layer could be released completely.
    pub fn encrypted(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        if let Some((left, length)) = &mut self.left {
            let rest = left.checked_sub(bytes.len() as u64);
            *left = rest.ok_or(LayerError::TooLong { length: *length })?;
        }
        self.mac.update(bytes);
        Ok(())
    }

    /// Takes the next bytes of the decryptor's output.
    pub fn plain(&mut self, bytes: &[u8]) {
        match &mut self.plain {
            Plain::Unknown => {}
            Plain::Digest(hasher, _) => hasher.update(bytes),
            Plain::EncryptedAgain(cipher, mac) => {
                let mut piece = [0; 8 * 1024];
                for bytes in bytes.chunks(piece.len()) {
                    let piece = &mut piece[..bytes.len()];
                    piece.copy_from_slice(bytes);
                    cipher.apply(piece);
                    mac.update(piece);
                }
            }
        }
    }

    /// Compares HMAC and digest with those of the layer key, in constant time. Without a digest to
    /// compare, the output was encrypted again, and its HMAC is compared.
    ///
    /// # Errors
    /// [`LayerError::HmacMismatch`], [`LayerError::CutOff`], [`LayerError::DigestMismatch`].
    pub fn finish(self) -> Result<(), LayerError> {
        let is_expected = |mac: Hmac<Sha256>| {
            bool::from(mac.finalize().into_bytes().as_slice().ct_eq(&self.expected_hmac))
        };
        if !is_expected(self.mac) {
            let (found, length) = match self.left {
                Some((left, length)) => (length - left, Some(length)),
                None => (0, None),
            };
            return Err(LayerError::of_hmac(found, length));
        }
        match self.plain {
            Plain::Unknown => {}
            Plain::Digest(hasher, expected) => {
                if !bool::from(hasher.finish().ct_eq(&expected.value)) {
                    return Err(LayerError::DigestMismatch);
                }
            }
            Plain::EncryptedAgain(_, mac) => {
                if !is_expected(mac) {
                    return Err(LayerError::HmacMismatch);
                }
            }
        }
        Ok(())
    }
}
