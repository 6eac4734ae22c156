//! JSON Web Encryption (RFC 7516): the part of it that wraps the keys of layers.
//!
//! Key management (RFC 7518, section 4): `RSA-OAEP`, `RSA-OAEP-256`, `ECDH-ES+A128KW`,
//! `ECDH-ES+A192KW`, `ECDH-ES+A256KW`. Content encryption (section 5): `A128GCM`, `A192GCM`,
//! `A256GCM`, `A128CBC-HS256`, `A192CBC-HS384`, `A256CBC-HS512`. All three serializations.

mod agreement;
mod content;
#[cfg(feature = "encrypt")]
mod encrypt;
#[cfg(feature = "encrypt")]
mod existing;
mod header;
mod message;
mod search;

use std::collections::BTreeSet;

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::algorithms::{Algorithm, BelowMinimum};
use crate::bounds::Bounds;
use crate::budget::{Budget, Exhausted, cost};
use crate::crypto::identity;
use crate::crypto::oaep::OaepHash;
use crate::encoding::text::printable;
use crate::keys::{KeyKind, Material, OaepRefusal, PrivateKey, Which};

use self::agreement::Agreement;
use self::content::Encryption;
#[cfg(feature = "encrypt")]
pub(crate) use self::encrypt::{JweRecipient, encrypt};
#[cfg(feature = "encrypt")]
pub(crate) use self::existing::{existing, without};
use self::header::Header;
use self::message::{Message, RawRecipient};
pub use self::search::Search;

/// The most failures that a message remembers, because only so many are reported.
const TOLD: usize = 16;

/// Why a JWE, or one recipient of it, was refused. At most, the texts show truncated names of
/// algorithms from the input, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum JweError {
    /// Something is missing or has the wrong form.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A member occurs twice in one object.
    #[error("malformed: the member `{0}` occurs twice")]
    Duplicate(String),
    /// It requires extensions that must be understood (`crit`, RFC 7516, section 4.1.13).
    #[error("it demands extensions (`crit`), and none is known")]
    Critical,
    /// The key management algorithm is not one of the format.
    #[error("the key management algorithm `{0}` is not one of the format")]
    UnsupportedAlgorithm(String),
    /// The content encryption algorithm is not one of the format.
    #[error("the content encryption `{0}` is not one of the format")]
    UnsupportedEncryption(String),
    /// The compression is not one of the format.
    #[error("the compression `{0}` is not one of the format")]
    UnsupportedCompression(String),
    /// No key of the ring is of the right kind.
    #[error("no key of this kind ({0})")]
    NoKeyOfKind(Wanted),
    /// Every key of the right kind was tried, and none fits.
    #[error("wrong key")]
    WrongKey,
    /// A key fits, but the content does not match its tag.
    #[error("the key fits, but the content was altered")]
    Altered,
    /// The content is not valid compressed data, or is too large.
    #[error("the content cannot be decompressed")]
    Compression,
    /// The caller does not accept an algorithm.
    #[error(transparent)]
    BelowMinimum(#[from] BelowMinimum),
    /// The budget is spent, and not every key was tried.
    #[error("too much work: gave up before every key was tried on every wrapped key")]
    TooMuchWork,
    /// The random number generator failed.
    #[error("no random numbers for a private-key operation")]
    NoRandomness,
}

/// The kind of key that a recipient needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wanted {
    /// RSA with a modulus of the same length as the wrapped key.
    Rsa {
        /// The length in bytes.
        bytes: usize,
    },
    /// An elliptic curve.
    Curve(KeyKind),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { bytes } => write!(f, "RSA-{}", bytes * 8),
            Self::Curve(kind) => kind.fmt(f),
        }
    }
}

impl From<Exhausted> for JweError {
    fn from(_: Exhausted) -> Self {
        Self::TooMuchWork
    }
}

/// A parsed JWE, in any serialization, and the state of the attempts to open it.
pub struct Jwe {
    message: Message,
    recipients: Vec<RawRecipient>,
    /// Recipients that some key fits, by their positions.
    fitted: BTreeSet<usize>,
    /// Recipients and the keys that they name, if those were tried.
    named: BTreeSet<(usize, usize)>,
    failures: Vec<JweError>,
    gave_up: bool,
}

/// The content of a JWE, and how it was opened.
pub struct Opened<'k> {
    /// The content.
    pub content: Zeroizing<Vec<u8>>,
    /// The key that fits.
    pub key: &'k PrivateKey,
    /// All algorithms that protected the content.
    pub algorithms: Vec<Algorithm>,
}

/// One recipient, checked as far as possible without a key.
struct Recipient<'m> {
    wrapping: Wrapping,
    encryption: Encryption,
    encrypted_key: &'m [u8],
}

/// How the content key is wrapped.
enum Wrapping {
    Oaep(OaepHash),
    Agreement(Agreement),
}

impl Jwe {
    /// Parses the compact serialization (RFC 7516, section 7.1) or one of the JSON serializations
    /// (section 7.2). A bad recipient does not affect the others.
    ///
    /// # Errors
    /// [`JweError::Malformed`], [`JweError::Duplicate`], [`JweError::Critical`],
    /// [`JweError::UnsupportedCompression`].
    pub fn parse(bytes: &[u8]) -> Result<Self, JweError> {
        let (message, recipients) = Message::parse(bytes)?;
        let (fitted, named) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { message, recipients, fitted, named, failures: Vec::new(), gave_up: false })
    }

    /// Describes the recipients as far as the message identifies them: for each the kind of its key and
    /// the algorithm, such as `RSA-2048 (RSA-OAEP)`, or why it cannot be used.
    pub fn recipients(&self) -> Vec<String> {
        let shown = self.recipients.iter().map(|recipient| {
            let (header, key) = recipient.as_ref().map_err(JweError::clone)?;
            let recipient = Recipient::new(header, key, &self.message)?;
            Ok(format!("{} ({})", recipient.wanted(), printable(header.alg()?)))
        });
        shown.map(|shown| shown.unwrap_or_else(|error: JweError| error.to_string())).collect()
    }

    /// Tries keys on the recipients: those that a recipient's `kid` names, or all others of the right
    /// kind. Returns the content, or none if no key fits; [`Jwe::failures`] returns the reasons.
    ///
    /// A `kid` is only a hint: it is often missing, and may be wrong.
    pub fn open<'k, R: TryCryptoRng + ?Sized>(
        &mut self,
        which: Which,
        keys: &[&'k PrivateKey],
        search: &mut Search<'k>,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Opened<'k>> {
        for position in 0..self.recipients.len() {
            match self.open_one(position, which, keys, search, bounds, rng) {
                Ok(found @ Some(_)) => return found,
                Ok(None) => {}
                Err(error @ (JweError::TooMuchWork | JweError::NoRandomness)) => {
                    self.failures.insert(0, error);
                    self.gave_up = true;
                    return None;
                }
                Err(error) => remember(&mut self.failures, error),
            }
        }
        None
    }

    /// Tries the recipient at `position`. It returns `Ok(None)` if there is no key to try.
    fn open_one<'k, R: TryCryptoRng + ?Sized>(
        &mut self,
        position: usize,
        which: Which,
        keys: &[&'k PrivateKey],
        search: &mut Search<'k>,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Result<Option<Opened<'k>>, JweError> {
        // `failures` reports what is wrong with a header.
        let Ok((header, encrypted_key)) = &self.recipients[position] else { return Ok(None) };
        if which == Which::Named && header.kid().is_none() {
            return Ok(None);
        }
        let comparisons = cost::COMPARISON * keys.len() as u64;
        bounds.budget.spend(cost::RECIPIENT + comparisons)?;
        bounds.budget.spend_on_bytes(header.apu().len() + header.apv().len(), cost::READ)?;
        let Ok(recipient) = Recipient::new(header, encrypted_key, &self.message) else {
            return Ok(None);
        };
        let mut fitting = Vec::new();
        for named in keys.iter().copied().filter(|named| recipient.fits(named)) {
            self.fitted.insert(position);
            let pair = (position, search::place(named));
            let is_wanted = match (which, header.kid()) {
                (Which::Named, Some(kid)) => {
                    bounds.budget.spend(named.cost_of_fingerprint())?;
                    named.is_named(kid) && self.named.insert(pair)
                }
                _ => !self.named.contains(&pair),
            };
            if is_wanted {
                fitting.push(named);
            }
        }
        if fitting.is_empty() {
            return Ok(None);
        }
        bounds.algorithms.check(&recipient.algorithms())?;
        recipient.open(&self.message, &fitting, search, bounds, rng).map(Some)
    }

    /// What went wrong so far; each reason occurs once.
    pub(crate) fn failures_so_far(&self) -> &[JweError] {
        &self.failures
    }

    /// Why it could not be opened after every key has been tried; each reason occurs once.
    pub fn failures(&self) -> Vec<JweError> {
        let mut failures = self.failures.clone();
        if self.gave_up {
            return failures;
        }
        for (position, recipient) in self.recipients.iter().enumerate() {
            if self.fitted.contains(&position) {
                continue;
            }
            let recipient = recipient.as_ref().map_err(JweError::clone);
            let found =
                recipient.and_then(|(header, key)| Recipient::new(header, key, &self.message));
            remember(
                &mut failures,
                match found {
                    Ok(recipient) => JweError::NoKeyOfKind(recipient.wanted()),
                    Err(error) => error,
                },
            );
        }
        failures
    }

    /// Whether the search ended before every key was tried.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether a key could open it, which requires a well-formed recipient.
    pub(crate) fn takes_keys(&self) -> bool {
        self.recipients
            .iter()
            .flatten()
            .any(|(header, key)| Recipient::new(header, key, &self.message).is_ok())
    }
}

fn remember(failures: &mut Vec<JweError>, failure: JweError) {
    if failures.len() < TOLD && !failures.contains(&failure) {
        failures.push(failure);
    }
}

impl<'m> Recipient<'m> {
    fn new(header: &Header, encrypted_key: &'m [u8], message: &Message) -> Result<Self, JweError> {
        let encryption = Encryption::named(header.enc()?)?;
        encryption.check(message)?;
        let wrapping = match header.alg()? {
            "RSA-OAEP" => Wrapping::Oaep(OaepHash::Sha1),
            "RSA-OAEP-256" => Wrapping::Oaep(OaepHash::Sha256),
            alg => Wrapping::Agreement(Agreement::new(alg, header)?),
        };
        // This comes after the algorithm: algorithms that are not in the format may have no wrapped
        // key, and are to be named.
        if encrypted_key.is_empty() {
            return Err(JweError::Malformed("no wrapped key"));
        }
        if matches!(wrapping, Wrapping::Agreement(_))
            && encrypted_key.len() != encryption.key_length() + 8
        {
            return Err(JweError::Malformed("the wrapped key has the wrong length"));
        }
        Ok(Self { wrapping, encryption, encrypted_key })
    }

    /// Tries these keys, all of which are of the right kind.
    fn open<'k, R: TryCryptoRng + ?Sized>(
        &self,
        message: &Message,
        keys: &[&'k PrivateKey],
        search: &mut Search<'k>,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Result<Opened<'k>, JweError> {
        let id = identity::id(|hash| self.identify(hash));
        let mut error = JweError::WrongKey;
        for &named in keys {
            bounds.budget.spend(cost::ATTEMPT)?;
            if search.was_in_vain(id, named) {
                continue;
            }
            let of_key = named.algorithm();
            bounds.algorithms.check(of_key.as_slice())?;
            bounds.budget.spend(named.cost())?;
            search.tries(named);
            let Some(content_key) = self.content_key(named, rng)? else {
                bounds.budget.spend(named.cost_of_detour())?;
                search.was_tried(id, named);
                continue;
            };
            if content_key.len() != self.encryption.key_length() {
                error = JweError::Malformed("the unwrapped key has the wrong length");
                continue;
            }
            self.encryption.pay(message, &mut bounds.budget)?;
            match self.encryption.decrypt(&content_key, message) {
                Some(plaintext) => {
                    let content = decompressed(message, plaintext, &mut bounds.budget)?;
                    let algorithms = of_key.into_iter().chain(self.algorithms()).collect();
                    return Ok(Opened { content, key: named, algorithms });
                }
                None => error = JweError::Altered,
            }
        }
        Err(error)
    }

    /// The content key, if it was wrapped for `key`.
    fn content_key<R: TryCryptoRng + ?Sized>(
        &self,
        key: &PrivateKey,
        rng: &mut R,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, JweError> {
        match (&self.wrapping, key.material()) {
            (Wrapping::Oaep(hash), Material::Rsa(key)) => {
                match key.decrypt_oaep(*hash, self.encrypted_key, rng) {
                    Ok(content_key) => Ok(Some(content_key)),
                    Err(OaepRefusal::NoRandomness) => Err(JweError::NoRandomness),
                    Err(OaepRefusal::WrongKey) => Ok(None),
                }
            }
            (Wrapping::Agreement(agreement), _) => agreement.unwrap(key, self.encrypted_key),
            _ => Ok(None),
        }
    }

    /// How the content key is wrapped, and what the content is encrypted with.
    fn algorithms(&self) -> [Algorithm; 2] {
        let wrapping = match &self.wrapping {
            Wrapping::Oaep(hash) => Algorithm::oaep(*hash),
            Wrapping::Agreement(agreement) => Algorithm::modern(agreement.name()),
        };
        [wrapping, Algorithm::modern(self.encryption.name())]
    }

    /// Whether the recipient may be meant for `key`. The length of the wrapped key is that of the
    /// modulus (RFC 8017, section 7.1.2, step 1), which saves most of the work on other keys.
    fn fits(&self, key: &PrivateKey) -> bool {
        match &self.wrapping {
            Wrapping::Oaep(_) => {
                key.as_rsa().is_some_and(|key| key.size() == self.encrypted_key.len())
            }
            Wrapping::Agreement(agreement) => agreement.curve() == key.kind(),
        }
    }

    fn wanted(&self) -> Wanted {
        match &self.wrapping {
            Wrapping::Oaep(_) => Wanted::Rsa { bytes: self.encrypted_key.len() },
            Wrapping::Agreement(agreement) => Wanted::Curve(agreement.curve()),
        }
    }

    /// Passes everything that decides whether a key fits to the hash.
    fn identify(&self, mut hash: impl FnMut(&[u8])) {
        match &self.wrapping {
            Wrapping::Oaep(oaep) => hash(oaep.name().as_bytes()),
            Wrapping::Agreement(agreement) => agreement.identify(&mut hash),
        }
        hash(self.encrypted_key);
    }
}

/// Decompresses the content if it is compressed. The cost is known only afterwards; it is bounded by
/// the longest allowed result.
fn decompressed(
    message: &Message,
    plaintext: Zeroizing<Vec<u8>>,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, JweError> {
    let most = message.most_decompressed(plaintext.len());
    let content = message.decompress(plaintext);
    let length = content.as_ref().map_or(most, |content| content.len());
    budget.spend_on_bytes(length, if message.is_compressed() { cost::INFLATED } else { 0 })?;
    content
}
