//! Encryption of a layer.

use hmac::{Hmac, KeyInit, Mac};
use rsa::rand_core::TryCryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Digest, DigestKind, Keystream, LayerKey};
use crate::crypto::rng::{NoRandomness, random};

/// Encrypts a layer in pieces of any size with a new key, and returns that key.
///
/// It needs a few hundred bytes, however long the layer is. Its key is wiped when dropped.
///
/// ```
/// use ocicrypt::layer::Encryptor;
///
/// let mut encryptor = Encryptor::new(&mut getrandom::SysRng)?;
/// let mut layer = *b"a layer that comes in pieces";
/// for piece in layer.chunks_mut(10) {
///     encryptor.update(piece); // in place: `piece` is what to write
/// }
/// let key = encryptor.finish();
/// assert_eq!(key.length(), Some(28));
/// # Ok::<(), ocicrypt::encrypt::NoRandomness>(())
/// ```
pub struct Encryptor {
    cipher: Keystream,
    mac: Hmac<Sha256>,
    hash: Sha256,
    key: Zeroizing<[u8; 32]>,
    nonce: Zeroizing<[u8; 16]>,
    length: u64,
}

impl Encryptor {
    /// Starts a layer with a new key and a new nonce.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, NoRandomness> {
        let key = random::<32, R>(rng)?;
        let nonce = random::<16, R>(rng)?;
        Ok(Self {
            cipher: Keystream::from_parts(&key, &nonce),
            mac: <Hmac<Sha256> as KeyInit>::new_from_slice(&*key)
                .expect("HMAC takes a key of any length"),
            hash: Sha256::new(),
            key,
            nonce,
            length: 0,
        })
    }

    /// Encrypts `buffer`, the next piece of the layer, in place.
    pub fn update(&mut self, buffer: &mut [u8]) {
        // The pieces fit into the first-level cache, so that the three passes cost one read from
        // memory.
        for piece in buffer.chunks_mut(8 * 1024) {
            self.hash.update(&*piece);
            self.cipher.apply(piece);
            self.mac.update(piece);
        }
        self.length += buffer.len() as u64;
    }

    /// The key of the layer that was encrypted, with the HMAC of the ciphertext, the SHA-256 of the
    /// plain layer and its length. Its wrapped forms for recipients belong in the annotations of the
    /// layer: see [`crate::encrypt::annotations`].
    #[must_use]
    pub fn finish(self) -> LayerKey {
        LayerKey {
            key: self.key,
            nonce: self.nonce,
            hmac: self.mac.finalize().into_bytes().into(),
            digest: Some(Digest { kind: DigestKind::Sha256, value: self.hash.finalize().to_vec() }),
            is_digest_compared: true,
            length: Some(self.length),
        }
    }
}
