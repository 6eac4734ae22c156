//! OpenPGP (RFC 9580, and its predecessor RFC 4880): the part of it that wraps the keys of layers.
//!
//! Supported are secret keys of version 4 and 6: RSA, ElGamal, ECDH (NIST P-256, P-384, P-521,
//! Curve25519) and X25519; encrypted data with integrity protection: version 1 (CFB with 3DES, CAST5 or AES, and
//! SHA-1), version 2, and GnuPG's packet 20 (AES with OCB or GCM); and compression: none, ZIP, ZLIB.
//! Everything else in the standard is refused, with its name in the error.
//!
//! Signatures are not verified: anyone may wrap a key. Go ctd-decoder treats an unencrypted packet as a
//! wrapped key that fits every key ring; this crate refuses it.

mod aead;
mod armor;
mod cipher;
mod content;
mod elgamal;
#[cfg(feature = "encrypt")]
mod encrypt;
#[cfg(feature = "encrypt")]
mod existing;
mod key_file;
mod packet;
mod public;
mod reader;
mod recipient;
mod s2k;
mod sealed;
mod search;
mod secret_key;
#[cfg(feature = "encrypt")]
mod signature;

use ::rsa::rand_core::TryCryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

#[cfg(feature = "encrypt")]
pub(crate) use self::encrypt::{PgpRecipient, encrypt};
#[cfg(feature = "encrypt")]
pub use self::encrypt::{PgpRecipientError, PgpSelector, Unusable};
#[cfg(feature = "encrypt")]
pub(crate) use self::existing::{existing, without};
pub(crate) use self::key_file::KeyFile;
pub use self::key_file::KeyFileError;
use self::packet::{Packets, tag};
pub use self::public::PgpKind;
use self::recipient::{Recipient, Whom};
use self::sealed::Sealed;
pub(crate) use self::search::Locked;
pub use self::search::Search;
pub use self::secret_key::{PgpFingerprint, PgpKey};
use crate::algorithms::{Algorithm, BelowMinimum};
use crate::bounds::Bounds;
use crate::budget::{Exhausted, cost};

/// The most key IDs that one error lists.
const LISTED: usize = 4;

/// Why an OpenPGP message, one recipient of it, or a key was refused. The texts show names and numbers
/// of algorithms and keys, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum PgpError {
    /// Something is missing or has the wrong form.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The standard has it, but this crate does not support it.
    #[error("the {what} {name} is not supported")]
    Unsupported {
        /// What it is, for example `cipher`.
        what: &'static str,
        /// Its name, or its number.
        name: String,
    },
    /// A packet is not encrypted, and so it is not a wrapped key.
    #[error("it is not encrypted, and so no wrapped key")]
    NotEncrypted,
    /// Encrypted data has no integrity protection (RFC 9580, section 5.7).
    #[error("its encryption does not protect it from being altered")]
    NotProtected,
    /// It is for keys that are not in the ring. It holds their IDs.
    #[error("it is for other keys ({0})")]
    OtherKeys(String),
    /// It does not name its recipient, and no key is of the right kind.
    #[error("it hides its recipient, and no key is of the right kind")]
    NoKeyOfKind,
    /// The key with this fingerprint is locked, and there is no password for it.
    #[error(
        "the key {0} is locked, and there is no password for it: put it into a file beside the \
         key's, of the same name with `.pass` at its end"
    )]
    Locked(String),
    /// The password does not unlock the key with this fingerprint.
    #[error("the password does not unlock the key {0}")]
    WrongPassword(String),
    /// The secret numbers of the key with this fingerprint are damaged or do not match.
    #[error("the key {0} is damaged")]
    DamagedKey(String),
    /// A key did not open it. Whether the key or the content is wrong must stay hidden from an attacker
    /// who sends messages and observes the results.
    #[error("wrong key, or it was altered")]
    NotOpened,
    /// It was opened and is genuine, but does not have the expected content.
    #[error("it was opened, but {0}")]
    Content(&'static str),
    /// The content is not valid compressed data, or is too large.
    #[error("the content cannot be decompressed")]
    Compression,
    /// The caller does not accept an algorithm.
    #[error(transparent)]
    BelowMinimum(#[from] BelowMinimum),
    /// The budget is spent, and not every key was tried.
    #[error("too much search: gave up before every key was tried on every wrapped key")]
    TooMuchWork,
    /// The random number generator failed.
    #[error("no random numbers for a private-key operation")]
    NoRandomness,
}

impl PgpError {
    fn unsupported(what: &'static str, name: &str) -> Self {
        Self::Unsupported { what, name: name.to_owned() }
    }

    fn unsupported_number(what: &'static str, number: u8) -> Self {
        Self::Unsupported { what, name: number.to_string() }
    }
}

impl From<Exhausted> for PgpError {
    fn from(_: Exhausted) -> Self {
        Self::TooMuchWork
    }
}

/// The content of a message, and how it was opened.
pub struct Opened {
    /// The data of the literal packet.
    pub content: Zeroizing<Vec<u8>>,
    /// All algorithms that protected the content.
    pub algorithms: Vec<Algorithm>,
}

/// A parsed message: its recipients and the encrypted data.
pub struct PgpMessage {
    recipients: Vec<Result<Recipient, PgpError>>,
    sealed: Sealed,
    digest: [u8; 32],
}

impl PgpMessage {
    /// Parses an encrypted message in binary form (RFC 9580, section 10.3). A bad recipient does not
    /// affect the others. Recipients with a password are ignored, and so are packets after the
    /// encrypted data, which nothing authenticates.
    ///
    /// # Errors
    /// [`PgpError::Malformed`], [`PgpError::Unsupported`], [`PgpError::NotProtected`],
    /// [`PgpError::NotEncrypted`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PgpError> {
        let mut recipients = Vec::new();
        for packet in Packets::new(bytes) {
            let packet = packet?;
            match packet.tag {
                tag::PUBLIC_KEY_SESSION_KEY => recipients.push(Recipient::parse(&packet.body)),
                tag::ENCRYPTED | tag::PROTECTED | tag::GNUPG_AEAD => {
                    let sealed = Sealed::parse(&packet)?;
                    let digest = Sha256::digest(&packet.body[..]).into();
                    return Ok(Self { recipients, sealed, digest });
                }
                tag::LITERAL | tag::COMPRESSED | tag::SIGNATURE | tag::ONE_PASS_SIGNATURE => {
                    return Err(PgpError::NotEncrypted);
                }
                tag::PASSWORD_SESSION_KEY | tag::MARKER | tag::PADDING => {}
                tag::FIRST_NOT_CRITICAL.. => {}
                _ => return Err(PgpError::Malformed("a packet is out of place")),
            }
        }
        Err(PgpError::Malformed("there is no encrypted data"))
    }

    /// Describes the recipients: for each its key ID or fingerprint, if the message states it.
    pub fn recipients(&self) -> Vec<String> {
        let shown = self.recipients.iter().map(|recipient| match recipient {
            Ok(recipient) => recipient.whom.to_string(),
            Err(error) => error.to_string(),
        });
        shown.collect()
    }

    /// Decrypts with the first key that fits, and returns the data of the literal packet.
    ///
    /// A key is tried if the message names it by key ID or fingerprint. If the message hides its
    /// recipient, every key of the right kind is tried. Keys are unlocked only when they are tried.
    ///
    /// # Errors
    /// The reasons why each recipient failed.
    pub fn decrypt<R: TryCryptoRng + ?Sized>(
        &self,
        search: &mut Search<'_>,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Result<Opened, Vec<PgpError>> {
        let mut errors = Vec::new();
        let mut others = Others::default();
        let mut is_for_others = false; // for keys that are not tried in this pass
        for recipient in &self.recipients {
            let recipient = match recipient {
                Ok(recipient) => recipient,
                Err(error) => {
                    add(&mut errors, error.clone());
                    continue;
                }
            };
            let comparisons = cost::COMPARISON * search.len() as u64;
            if bounds.budget.spend(cost::RECIPIENT + comparisons).is_err() {
                add(&mut errors, PgpError::TooMuchWork);
                break;
            }
            let fitting = (0..search.len()).filter(|index| recipient.fits(search.key(*index)));
            let mut fitting: Vec<_> = fitting.collect();
            if fitting.is_empty() {
                match &recipient.whom {
                    Whom::Hidden => add(&mut errors, PgpError::NoKeyOfKind),
                    Whom::KeyId(id) => others.add(id),
                    Whom::Fingerprint(fingerprint) => others.add(fingerprint),
                }
                continue;
            }
            fitting.retain(|index| search.is_wanted(*index));
            if fitting.is_empty() {
                is_for_others = true;
                continue;
            }
            match self.decrypt_with(recipient, fitting, search, bounds, rng) {
                Ok(plain) => return Ok(plain),
                Err(found) => found.into_iter().for_each(|error| add(&mut errors, error)),
            }
            if errors.contains(&PgpError::TooMuchWork) {
                break;
            }
        }
        errors.extend(others.error());
        if errors.is_empty() && !is_for_others {
            errors.push(PgpError::Malformed("there is no recipient with a key"));
        }
        Err(errors)
    }

    /// Tries the keys with these indices.
    fn decrypt_with<R: TryCryptoRng + ?Sized>(
        &self,
        recipient: &Recipient,
        fitting: Vec<usize>,
        search: &mut Search<'_>,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Result<Opened, Vec<PgpError>> {
        if recipient.version != self.sealed.version() {
            return Err(vec![PgpError::Malformed(
                "session key and data are of different versions",
            )]);
        }
        let hash = Sha256::new().chain_update(recipient.digest).chain_update(self.digest);
        let id: [u8; 32] = hash.finalize().into();
        if search.is_hopeless(&id) {
            return Err(vec![PgpError::NotOpened]);
        }
        let mut errors = Vec::new();
        for index in fitting {
            let opened = self.open_with(recipient, index, search, bounds, rng);
            match opened {
                Ok(plain) => return Ok(plain),
                Err(error) => add(&mut errors, error),
            }
            if errors.contains(&PgpError::TooMuchWork) {
                return Err(errors);
            }
        }
        if errors == [PgpError::NotOpened] {
            search.give_up_on(id);
        }
        Err(errors)
    }

    /// Tries one key.
    fn open_with<R: TryCryptoRng + ?Sized>(
        &self,
        recipient: &Recipient,
        index: usize,
        search: &mut Search<'_>,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Result<Opened, PgpError> {
        let key = search.key(index);
        let mut algorithms = recipient.algorithms(key);
        bounds.algorithms.check(&algorithms)?;
        let unlocked = search.unlock(index, &mut bounds.budget)?;
        let sessions = recipient.unwrap(key, &unlocked, self.sealed.ciphers(), rng)?;
        bounds.budget.spend(unlocked.cost_of_detour())?;
        // There are several sessions only with RSA and ElGamal, which the check above has refused if legacy
        // algorithms are not accepted. A single session is known to be the right one.
        if let [session] = &sessions[..] {
            bounds.algorithms.check(&self.sealed.algorithms(session.cipher))?;
        }
        for session in &sessions {
            self.sealed.pay(session.cipher, &mut bounds.budget)?;
        }
        let (text, cipher) = self.sealed.open(&sessions)?;
        let content = content::literal(&text, &mut bounds.budget)?;
        algorithms.extend(self.sealed.algorithms(cipher));
        Ok(Opened { content, algorithms })
    }
}

/// Adds an error that is not in the list yet.
fn add(errors: &mut Vec<PgpError>, error: PgpError) {
    if !errors.contains(&error) {
        errors.push(error);
    }
}

/// The recipients whose keys are not in the ring.
#[derive(Default)]
struct Others {
    listed: Vec<String>,
    more: usize,
}

impl Others {
    fn add(&mut self, id: &[u8]) {
        if self.listed.len() == LISTED {
            self.more += 1;
        } else {
            // A fingerprint has at most 32 bytes; longer ones are invalid.
            let id = &id[..id.len().min(32)];
            self.listed.push(id.iter().map(|byte| format!("{byte:02X}")).collect());
        }
    }

    fn error(&self) -> Option<PgpError> {
        let mut list = self.listed.join(", ");
        if self.more > 0 {
            list += &format!(" and {} more", self.more);
        }
        (!list.is_empty()).then_some(PgpError::OtherKeys(list))
    }
}

/// The sum of all bytes, as two bytes (section 5.1.3).
fn sum(bytes: &[u8]) -> [u8; 2] {
    bytes.iter().fold(0u16, |sum, byte| sum.wrapping_add(u16::from(*byte))).to_be_bytes()
}
