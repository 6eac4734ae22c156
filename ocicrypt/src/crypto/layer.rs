//! The layer cipher: AES-256-CTR with HMAC-SHA256 over the ciphertext (encrypt-then-MAC).
//!
//! One [`LayerKey`] opens one layer. [`PlainReader`] turns a reader of ciphertext into chunks of
//! plaintext and holds back the tail until everything has verified.

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
/// AES-256-CTR as WebAssembly has it.
#[cfg(fuzzing)]
pub type SlicedCtr = self::counter::CounterMode<ocicrypt_arithmetic::aes::Aes256>;
pub use self::witness::Witness;

/// The only layer cipher that the format defines, as its `cipher` member names it.
pub const AES_256_CTR_HMAC_SHA256: &str = "AES_256_CTR_HMAC_SHA256";

/// Bytes in one chunk of a [`PlainReader`], and the least that it holds back until the whole
/// layer has verified: 64 KiB, what a Linux pipe holds. Larger chunks gain nothing.
pub const CHUNK: usize = 64 * 1024;

/// Why parts make no layer key.
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
    /// The sealed digest is not `sha256:`, `sha384:` or `sha512:` and the right count of
    /// lower-case hexadecimal digits.
    #[error("the digest of the layer is not one of sha256, sha384 or sha512 in hexadecimal")]
    MalformedDigest,
}

/// Why a layer was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The parts of its key make no layer key.
    #[error(transparent)]
    Key(#[from] LayerKeyError),
    /// The HMAC over the ciphertext is another one: the layer was cut off, altered, or belongs
    /// to another key.
    #[error("the layer does not match its HMAC")]
    HmacMismatch,
    /// The HMAC is right, but the plain layer is not the one whose digest was sealed.
    #[error("the decrypted layer does not match the digest that was sealed with its key")]
    DigestMismatch,
    /// The ciphertext ended before the length of the layer, and so has another HMAC.
    #[error("the encrypted layer ended after {found} of its {length} bytes")]
    CutOff {
        /// The length that was found, in bytes.
        found: u64,
        /// The length that was expected, in bytes.
        length: u64,
    },
    /// More ciphertext follows than the layer has.
    #[error("the layer is longer than the {length} bytes that its descriptor gives it")]
    TooLong {
        /// The length that was expected, in bytes.
        length: u64,
    },
    /// The ciphertext could not be read.
    #[error("cannot read the encrypted layer: {0}")]
    Read(#[from] io::Error),
}

/// What opens one layer: the sealed key, nonce and digest, and the public HMAC.
///
/// Wipes itself when dropped; compares in constant time; has no `Debug`.
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
    /// The cause of an HMAC that does not match after `found` bytes of a layer of `length`.
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

    /// With the length of the layer in bytes, encrypted or plain: counter mode keeps it. A longer
    /// layer is refused before its genuine part has come out whole. `None`: not known.
    #[must_use]
    pub fn with_length(self, length: Option<u64>) -> Self {
        Self { length, ..self }
    }

    /// With a digest that may be that of another blob, so that only the HMAC is compared. That is
    /// computed with the sealed key: nobody without it can make one.
    #[must_use]
    pub fn with_digest_of_any_blob(self) -> Self {
        Self { is_digest_compared: false, ..self }
    }

    /// The digest that the plain layer has to have, in its text form, if there is one.
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

    /// The digest that was sealed, in its text form.
    pub fn digest(&self) -> Option<String> {
        self.digest.as_ref().map(Digest::to_text)
    }

    /// Whether both turn a layer into the same bytes, without a hint in the time of where they
    /// differ.
    pub fn has_same_keystream(&self, other: &Self) -> bool {
        bool::from(self.key.ct_eq(&*other.key) & self.nonce.ct_eq(&*other.nonce))
    }

    /// Whether both open the same layer, without a hint in the time of where they differ.
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

/// Decrypts a layer in pieces of any size and tells at the end whether it was genuine.
///
/// What [`Decryptor::update`] yields is unverified until [`Decryptor::finish`] returned `Ok`:
/// [`PlainReader`] holds the tail back so that no caller can mistake the one for the other.
pub struct Decryptor {
    cipher: Keystream,
    mac: Hmac<Sha256>,
    expected_hmac: [u8; 32],
    digest: Option<(Hasher, Digest)>,
    /// Bytes so far, and how many there should be.
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
        // In pieces that stay in the first-level cache, so that three passes cost one read.
        for piece in buffer.chunks_mut(8 * 1024) {
            self.mac.update(piece);
            self.cipher.apply(piece);
            if let Some((hasher, _)) = &mut self.digest {
                hasher.update(piece);
            }
        }
    }

    /// Compares HMAC and digest, in constant time, with what the layer key demands.
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

/// Plaintext of a layer, in chunks, of which at least the last 64 KiB appear only after HMAC and
/// digest have verified. A layer that fails therefore never comes out whole, and one of up to
/// 64 KiB does not come out at all.
///
/// Go ctd-decoder holds back 10 KiB, never checks the digest, and writes a genuine layer whole
/// when bytes were appended to it; Keycell holds back 64 KiB, checks the digest, and stops at the
/// length of the layer.
pub struct PlainReader<R> {
    source: R,
    /// `None` once the end of the ciphertext was reached.
    decryptor: Option<Decryptor>,
    /// Decrypted and full, to be released once as much again has been read after it.
    held: Option<Vec<u8>>,
    /// What follows `held` once the layer has verified.
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

    /// The next chunk, at most [`CHUNK`] bytes and never empty; `None` after the last, which
    /// means that the whole layer has verified.
    ///
    /// # Errors
    /// As [`Decryptor::finish`], and [`LayerError::Read`]. After an error every later call
    /// answers [`LayerError::HmacMismatch`].
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, LayerError> {
        if self.failed {
            return Err(LayerError::HmacMismatch);
        }
        while let Some(decryptor) = &mut self.decryptor {
            self.failed = true; // until this pass has gone well
            // With one byte more than may follow, so that it shows what follows.
            let most = self.left.map_or(CHUNK, |left| {
                usize::try_from(left).unwrap_or(CHUNK).saturating_add(1).min(CHUNK)
            });
            let mut chunk = std::mem::take(&mut self.spare);
            fill(&mut chunk, &mut self.source, most)?;
            // Before anything more is released: what is held back belongs to the genuine layer.
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

    /// Takes back a chunk that is no longer needed, so that the next one has its memory. What is in it stays
    /// there until it is overwritten.
    pub fn reuse(&mut self, chunk: Vec<u8>) {
        self.spare = chunk;
    }

    /// Whether HMAC and digest have verified.
    pub fn is_verified(&self) -> bool {
        self.decryptor.is_none() && !self.failed
    }
}

/// Reads so many bytes, or what is left before the end, in the place of what is in `chunk`.
fn fill(chunk: &mut Vec<u8>, source: &mut impl Read, most: usize) -> io::Result<()> {
    chunk.resize(most, 0);
    let mut length = 0;
    while length < most {
        // Not `read_to_end`: that begins with small reads, and a pipe gives 64 KiB at once.
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
