//! The layer cipher: AES-256-CTR with HMAC-SHA256 over the ciphertext (encrypt-then-MAC).
//!
//! One [`LayerKey`] opens one layer. [`PlainReader`] turns a reader of ciphertext into chunks of
//! plaintext, and holds back the tail until everything has verified.

mod counter;
#[cfg(feature = "encrypt")]
mod encryptor;
mod keystream;
#[cfg(not(target_arch = "wasm32"))]
mod library;
mod witness;

use std::io::{self, Read};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::encoding::text::printable;

#[cfg(feature = "encrypt")]
pub use self::encryptor::Encryptor;
pub use self::keystream::Keystream;
/// AES-256-CTR in the implementation for WebAssembly.
#[cfg(fuzzing)]
pub type SlicedCtr = self::counter::CounterMode<ocicrypt_arithmetic::aes::Aes256>;
pub use self::witness::Witness;

/// The only layer cipher that the format defines, as its `cipher` member names it.
pub const AES_256_CTR_HMAC_SHA256: &str = "AES_256_CTR_HMAC_SHA256";

/// The size of a chunk of a [`PlainReader`] in bytes, and the least that it holds back until the whole
/// layer has verified: 64 KiB, which is the capacity of a Linux pipe. Larger chunks are not faster.
pub const CHUNK: usize = 64 * 1024;

/// Why parts do not make a layer key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum LayerKeyError {
    /// The public options name a cipher that the format does not have.
    #[error("the layer cipher `{0}` is not known")]
    UnknownCipher(String),
    /// A member of the options has the wrong length, in bytes.
    #[error("the {what} of the layer has {found} bytes instead of {wanted}")]
    WrongLength {
        /// Which member.
        what: &'static str,
        /// The length that was found.
        found: usize,
        /// The length that the cipher needs.
        wanted: usize,
    },
    /// The sealed digest is not `sha256:`, `sha384:` or `sha512:` with the right number of lower-case
    /// hexadecimal digits.
    #[error("the digest of the layer is not one of sha256, sha384 or sha512 in hexadecimal")]
    MalformedDigest,
}

/// Why a layer was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The parts of its key do not make a layer key.
    #[error(transparent)]
    Key(#[from] LayerKeyError),
    /// The HMAC over the ciphertext differs: the layer was truncated or altered, or belongs to another
    /// key.
    #[error("the layer does not match its HMAC")]
    HmacMismatch,
    /// The HMAC is right, but the plain layer does not have the digest that was sealed.
    #[error("the decrypted layer does not match the digest that was sealed with its key")]
    DigestMismatch,
    /// The ciphertext ended before the length of the layer, and so its HMAC differs.
    #[error("the encrypted layer ended after {found} of its {length} bytes")]
    CutOff {
        /// The length that was found, in bytes.
        found: u64,
        /// The length that was expected, in bytes.
        length: u64,
    },
    /// The ciphertext is longer than the layer.
    #[error("the layer is longer than the {length} bytes that its descriptor gives it")]
    TooLong {
        /// The length that was expected, in bytes.
        length: u64,
    },
    /// The ciphertext could not be read.
    #[error("cannot read the encrypted layer: {0}")]
    Read(#[from] io::Error),
}

/// The key of one layer: the sealed key, nonce and digest, and the public HMAC.
///
/// It is wiped when dropped, is compared in constant time, and has no `Debug`.
#[derive(Clone)]
pub struct LayerKey {
    key: Zeroizing<[u8; 32]>,
    nonce: Zeroizing<[u8; 16]>,
    hmac: [u8; 32],
    digest: Option<Digest>,
    is_digest_compared: bool,
    length: Option<u64>,
}

impl LayerError {
    /// The reason for an HMAC that does not match after `found` bytes of a layer of `length` bytes.
    fn of_hmac(found: u64, length: Option<u64>) -> Self {
        match length {
            Some(length) if found < length => Self::CutOff { found, length },
            _ => Self::HmacMismatch,
        }
    }
}

impl LayerKey {
    /// Checks the parts of a layer key: the name of the cipher, 32 bytes of key, 16 bytes of
    /// nonce, 32 bytes of HMAC, and the digest of the plain layer (`sha256:…`) if one was sealed.
    ///
    /// # Errors
    /// [`LayerKeyError::UnknownCipher`], [`LayerKeyError::WrongLength`], [`LayerKeyError::MalformedDigest`].
    pub fn new(
        cipher: &str,
        key: &[u8],
        nonce: &[u8],
        hmac: &[u8],
        digest: Option<&str>,
    ) -> Result<Self, LayerKeyError> {
        if cipher != AES_256_CTR_HMAC_SHA256 {
            return Err(LayerKeyError::UnknownCipher(printable(cipher)));
        }
        Ok(Self {
            key: Zeroizing::new(exactly("key", key)?),
            nonce: Zeroizing::new(exactly("nonce", nonce)?),
            hmac: exactly("HMAC", hmac)?,
            digest: digest.map(Digest::parse).transpose()?,
            is_digest_compared: true,
            length: None,
        })
    }

    /// Sets the length of the layer in bytes. It is the same for the encrypted and the plain layer,
    /// because counter mode keeps it. A longer layer is refused before its genuine part has been
    /// released completely. `None`: the length is not known.
    #[must_use]
    pub fn with_length(self, length: Option<u64>) -> Self {
        Self { length, ..self }
    }

    /// Marks the digest as possibly that of another blob, so that only the HMAC is compared. The HMAC
    /// is computed with the sealed key, so nobody without it can make one.
    #[must_use]
    pub fn with_digest_of_any_blob(self) -> Self {
        Self { is_digest_compared: false, ..self }
    }

    /// The digest that the plain layer must have, as text, if there is one.
    pub fn compared_digest(&self) -> Option<String> {
        self.digest().filter(|_| self.is_digest_compared)
    }

    /// The length of the layer in bytes, if it is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The AES-256 and HMAC key, 32 bytes.
    #[cfg(feature = "hazmat")]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// As [`LayerKey::key`], within the crate.
    #[cfg(feature = "encrypt")]
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.key
    }

    /// The first counter block, 16 bytes, big-endian.
    pub fn nonce(&self) -> &[u8; 16] {
        &self.nonce
    }

    /// The expected HMAC-SHA256 of the ciphertext, 32 bytes.
    pub fn hmac(&self) -> &[u8; 32] {
        &self.hmac
    }

    /// The sealed digest as text.
    pub fn digest(&self) -> Option<String> {
        self.digest.as_ref().map(Digest::to_text)
    }

    /// Whether both keys decrypt a layer to the same bytes. The time does not depend on where they
    /// differ.
    pub fn has_same_keystream(&self, other: &Self) -> bool {
        bool::from(self.key.ct_eq(&*other.key) & self.nonce.ct_eq(&*other.nonce))
    }

    /// Whether both open the same layer. The time does not depend on where they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = self.key.ct_eq(&*other.key) & self.nonce.ct_eq(&*other.nonce);
        bool::from(same & self.hmac.ct_eq(&other.hmac))
            && self.digest == other.digest
            && self.length == other.length
    }
}

/// A digest of a plain layer, as the OCI image specification writes it.
#[derive(Clone, PartialEq, Eq)]
struct Digest {
    kind: DigestKind,
    value: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DigestKind {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    fn parse(text: &str) -> Result<Self, LayerKeyError> {
        let (name, hex) = text.split_once(':').ok_or(LayerKeyError::MalformedDigest)?;
        let (kind, length) = match name {
            "sha256" => (DigestKind::Sha256, 32),
            "sha384" => (DigestKind::Sha384, 48),
            "sha512" => (DigestKind::Sha512, 64),
            _ => return Err(LayerKeyError::MalformedDigest),
        };
        let value = from_hex(hex).filter(|value| value.len() == length);
        Ok(Self { kind, value: value.ok_or(LayerKeyError::MalformedDigest)? })
    }

    fn to_text(&self) -> String {
        let name = match self.kind {
            DigestKind::Sha256 => "sha256",
            DigestKind::Sha384 => "sha384",
            DigestKind::Sha512 => "sha512",
        };
        let hex = self.value.iter().map(|byte| format!("{byte:02x}"));
        format!("{name}:{}", hex.collect::<String>())
    }
}

/// The running digest of the plain layer.
enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    fn new(kind: DigestKind) -> Self {
        match kind {
            DigestKind::Sha256 => Self::Sha256(Sha256::new()),
            DigestKind::Sha384 => Self::Sha384(Sha384::new()),
            DigestKind::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha384(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// Decrypts a layer in pieces of any size, and reports at the end whether it was genuine.
///
/// The output of [`Decryptor::update`] is unverified until [`Decryptor::finish`] has returned `Ok`.
/// [`PlainReader`] holds back the tail, so that its caller cannot mistake unverified output for a
/// complete layer.
pub struct Decryptor {
    cipher: Keystream,
    mac: Hmac<Sha256>,
    expected_hmac: [u8; 32],
    digest: Option<(Hasher, Digest)>,
    /// How many bytes there were so far, and how many there should be.
    found: u64,
    length: Option<u64>,
}

impl Decryptor {
    /// Starts at the first byte of the layer that `key` opens.
    pub fn new(key: &LayerKey) -> Self {
        let compared = key.digest.clone().filter(|_| key.is_digest_compared);
        Self {
            cipher: Keystream::new(key),
            mac: <Hmac<Sha256> as KeyInit>::new_from_slice(&*key.key)
                .expect("HMAC takes a key of any length"),
            expected_hmac: key.hmac,
            digest: compared.map(|digest| (Hasher::new(digest.kind), digest)),
            found: 0,
            length: key.length,
        }
    }

    /// Authenticates `buffer` as ciphertext and decrypts it in place.
    pub fn update(&mut self, buffer: &mut [u8]) {
        self.found += buffer.len() as u64;
        // The pieces fit into the first-level cache, so that the three passes cost one read from
        // memory.
        for piece in buffer.chunks_mut(8 * 1024) {
            self.mac.update(piece);
            self.cipher.apply(piece);
            if let Some((hasher, _)) = &mut self.digest {
                hasher.update(piece);
            }
        }
    }

    /// Compares HMAC and digest with those of the layer key, in constant time.
    ///
    /// # Errors
    /// [`LayerError::HmacMismatch`], [`LayerError::CutOff`], [`LayerError::DigestMismatch`].
    pub fn finish(self) -> Result<(), LayerError> {
        let found = self.mac.finalize().into_bytes();
        if !bool::from(found.as_slice().ct_eq(&self.expected_hmac)) {
            return Err(LayerError::of_hmac(self.found, self.length));
        }
        if let Some((hasher, expected)) = self.digest
            && !bool::from(hasher.finish().ct_eq(&expected.value))
        {
            return Err(LayerError::DigestMismatch);
        }
        Ok(())
    }
}

/// The plaintext of a layer in chunks. At least the last 64 KiB are released only after HMAC and digest
/// have verified. So a layer that fails is never released completely, and of a layer of up to 64 KiB
/// nothing is released.
///
/// Go ctd-decoder holds back 10 KiB, never checks the digest, and writes a genuine layer completely if
/// bytes were appended to it. Keycell holds back 64 KiB, checks the digest, and stops at the length of
/// the layer.
pub struct PlainReader<R> {
    source: R,
    /// `None` once the end of the ciphertext was reached.
    decryptor: Option<Decryptor>,
    /// A decrypted, full chunk, which is released after as much again has been read after it.
    held: Option<Vec<u8>>,
    /// The bytes after `held`, when the layer has verified.
    tail: Option<Vec<u8>>,
    /// Memory for the next chunk.
    spare: Vec<u8>,
    /// Ciphertext that may still follow, in bytes; `None` if the length is not known.
    left: Option<u64>,
    length: u64,
    failed: bool,
}

impl<R: Read> PlainReader<R> {
    /// Reads the ciphertext from `source` and opens it with `key`. Nothing is read yet.
    pub fn new(source: R, key: &LayerKey) -> Self {
        Self {
            source,
            decryptor: Some(Decryptor::new(key)),
            held: None,
            tail: None,
            spare: Vec::new(),
            left: key.length,
            length: key.length.unwrap_or(u64::MAX),
            failed: false,
        }
    }

    /// The next chunk, which has at most [`CHUNK`] bytes and is never empty. `None` after the last
    /// chunk means that the whole layer has verified.
    ///
    /// # Errors
    /// As [`Decryptor::finish`], and [`LayerError::Read`]. After an error, every later call returns
    /// [`LayerError::HmacMismatch`].
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, LayerError> {
        if self.failed {
            return Err(LayerError::HmacMismatch);
        }
        while let Some(decryptor) = &mut self.decryptor {
            self.failed = true; // until this pass has succeeded
            // This reads one byte more than may follow, in order to detect a layer that is too long.
            let most = self.left.map_or(CHUNK, |left| {
                usize::try_from(left).unwrap_or(CHUNK).saturating_add(1).min(CHUNK)
            });
            let mut chunk = std::mem::take(&mut self.spare);
            fill(&mut chunk, &mut self.source, most)?;
            // This check comes before anything more is released, because the bytes that are held back
            // belong to the genuine layer.
            if let Some(left) = &mut self.left {
                let length = self.length;
                let rest = left.checked_sub(chunk.len() as u64);
                *left = rest.ok_or(LayerError::TooLong { length })?;
            }
            decryptor.update(&mut chunk);
            let full = chunk.len() == CHUNK;
            if full {
                self.failed = false;
                if let Some(released) = self.held.replace(chunk) {
                    return Ok(Some(released));
                }
            } else {
                let decryptor = self.decryptor.take();
                if let Some(Err(error)) = decryptor.map(Decryptor::finish) {
                    self.held = None;
                    return Err(error);
                }
                self.failed = false;
                self.tail = Some(chunk).filter(|chunk| !chunk.is_empty());
            }
        }
        Ok(self.held.take().or_else(|| self.tail.take()))
    }

    /// Takes back a chunk that is no longer needed, so that the next one reuses its memory. Its content
    /// stays in memory until it is overwritten.
    pub fn reuse(&mut self, chunk: Vec<u8>) {
        self.spare = chunk;
    }

    /// Whether HMAC and digest have verified.
    pub fn is_verified(&self) -> bool {
        self.decryptor.is_none() && !self.failed
    }
}

/// Reads `most` bytes, or all that are left before the end, into `chunk`, whose content is replaced.
fn fill(chunk: &mut Vec<u8>, source: &mut impl Read, most: usize) -> io::Result<()> {
    chunk.resize(most, 0);
    let mut length = 0;
    while length < most {
        // This is not `read_to_end`, which begins with small reads, although a pipe gives 64 KiB at
        // once.
        match source.read(&mut chunk[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(length);
    Ok(())
}

fn exactly<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], LayerKeyError> {
    let wrong = LayerKeyError::WrongLength { what, found: bytes.len(), wanted: N };
    bytes.try_into().map_err(|_| wrong)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
