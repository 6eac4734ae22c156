//! Cryptographic Message Syntax (RFC 5652): the part of it that wraps the keys of layers.
//!
//! Supported are `EnvelopedData` (RFC 5652, section 6) and `AuthEnvelopedData` (RFC 5083), in BER or
//! DER, for recipients with an RSA key: RSAES-PKCS1-v1_5 and RSAES-OAEP (RFC 3560). Content encryption
//! is DES-CBC, 3DES-CBC, AES-CBC and AES-GCM with keys of 128, 192 and 256 bits. Go writes AES-GCM
//! where the standard does not allow it, in a form of its own, which is supported too.
//!
//! Go ctd-decoder tries every private key with every certificate, and no key without one. Keycell first
//! tries each key for the recipients that its certificate names, then every RSA key of the right size
//! for every recipient, with or without a certificate. So a layer can be opened even if a certificate
//! was renewed or is missing. A [`Budget`](crate::budget::Budget) bounds the work.
//!
//! Content in CBC is not authenticated. It is tried last, and an attacker who changes it learns nothing
//! from the result, which is always a layer key, even if it is a wrong one (`unauthenticated.rs`). An
//! encrypted key that is used with several such contents is not tried, so that an attacker does not get
//! an answer about each.

mod content;
#[cfg(feature = "encrypt")]
mod encrypt;
#[cfg(feature = "encrypt")]
mod existing;
mod recipient;
mod search;
mod unauthenticated;
#[cfg(feature = "encrypt")]
mod validity;

use std::collections::BTreeSet;

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::algorithms::{Algorithm, BelowMinimum};
use crate::bounds::Bounds;
use crate::budget::{Exhausted, cost};
use crate::encoding::{asn1, oid};
use crate::format::options::{OptionsError, PublicOptions};
use crate::keys::PrivateKey;
pub use crate::keys::{Certificate, Which};

use self::content::Content;
#[cfg(feature = "encrypt")]
pub use self::encrypt::Pkcs7Form;
#[cfg(feature = "encrypt")]
pub(crate) use self::encrypt::{Pkcs7Recipient, encrypt};
#[cfg(feature = "encrypt")]
pub(crate) use self::existing::{existing, without};
#[cfg(feature = "encrypt")]
pub(crate) use self::recipient::Name;
use self::recipient::Recipient;
pub use self::search::Search;
pub(crate) use self::unauthenticated::Outcome as UnauthenticatedOutcome;
#[cfg(feature = "timing")]
pub use self::unauthenticated::has_padding;
#[cfg(feature = "encrypt")]
pub(crate) use self::validity::Validity;
use crate::encoding::asn1::{CONSTRUCTED, INTEGER, Reader, SEQUENCE, SET, context};

/// The most failures that a message remembers, because only so many are reported.
const TOLD: usize = 16;

/// Why a message, or one recipient of it, was refused. At most, the texts show truncated names of
/// algorithms from the input, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs7Error {
    /// Something is missing or has the wrong form.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The message is not encrypted for recipients; it may be a signed one.
    #[error("not an encrypted message (content type `{0}`)")]
    NotEnveloped(String),
    /// The content cipher is not one of the format.
    #[error("the content cipher `{0}` is not one of the format")]
    UnsupportedCipher(String),
    /// The encryption of the content key is not one of the format.
    #[error("the key transport `{0}` is not one of the format")]
    UnsupportedTransport(String),
    /// The hash function or the mask generation of OAEP is not supported.
    #[error("OAEP with `{0}` is not one of the format")]
    UnsupportedHash(String),
    /// OAEP has a label.
    #[error("OAEP with a label is not one of the format")]
    Label,
    /// The recipient does not use an RSA key. It holds the kind in words.
    #[error("a recipient by {0}: only those with an RSA key can be read")]
    UnsupportedRecipient(&'static str),
    /// No key of the ring is of the right kind.
    #[error("no key of this kind (RSA-{bits})")]
    NoKeyOfKind {
        /// The length of the modulus, which is that of the wrapped key, in bits.
        bits: usize,
    },
    /// Every key of the right kind was tried, and none fits.
    #[error("wrong key, or altered")]
    WrongKey,
    /// Two contents that are not authenticated have the same encrypted key. Legitimate senders never
    /// use an encrypted key twice.
    #[error("its encrypted key comes with another content too, and neither is authenticated")]
    SeveralContents,
    /// A key fits and the content is authentic, but cannot be used. It holds the reason.
    #[error("it was opened, but {0}")]
    Useless(OptionsError),
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

impl From<Exhausted> for Pkcs7Error {
    fn from(_: Exhausted) -> Self {
        Self::TooMuchWork
    }
}

/// A parsed message, and the state of the attempts to open it.
pub struct Envelope {
    recipients: Vec<Recipient>,
    /// Recipients that some key fits, by their positions.
    fitted: BTreeSet<usize>,
    content: Content,
    /// The identity of the content.
    id: [u8; 32],
    attempted: BTreeSet<[u8; 32]>,
    failures: Vec<Pkcs7Error>,
    gave_up: bool,
}

impl Envelope {
    /// Parses a `ContentInfo` (RFC 5652, section 3); bytes after it are ignored. A bad recipient does
    /// not affect the others.
    ///
    /// # Errors
    /// [`Pkcs7Error::Malformed`], [`Pkcs7Error::NotEnveloped`], [`Pkcs7Error::UnsupportedCipher`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Pkcs7Error> {
        let malformed = Pkcs7Error::Malformed;
        let message = asn1::definite(bytes).ok_or(malformed("not BER, or cut off"))?;
        let mut message = Reader::new(&message).inside(SEQUENCE).ok_or(malformed("not CMS"))?;
        let content_type = oid::read(&mut message).ok_or(malformed("not CMS"))?;
        if ![oid::ENVELOPED_DATA, oid::AUTH_ENVELOPED_DATA].contains(&content_type) {
            return Err(Pkcs7Error::NotEnveloped(oid::shown(&content_type)));
        }
        let data = message.inside(context(0) | CONSTRUCTED);
        let mut data = data.and_then(|mut data| data.inside(SEQUENCE)).ok_or(malformed("empty"))?;
        // Versions only state which of the parts below are present.
        data.element(INTEGER).ok_or(malformed("no version"))?;
        data.optional(context(0) | CONSTRUCTED);
        let mut infos = data.inside(SET).ok_or(malformed("no recipients"))?;
        let (mut recipients, mut failures) = (Vec::new(), Vec::new());
        if infos.is_empty() {
            failures.push(malformed("no recipients"));
        }
        while !infos.is_empty() {
            let info = infos.any().ok_or(malformed("the recipients"))?;
            match Recipient::parse(&info) {
                Ok(recipient) => recipients.push(recipient),
                Err(failure) => remember(&mut failures, failure),
            }
        }
        let content = if content_type == oid::ENVELOPED_DATA {
            Content::enveloped(&mut data)?
        } else {
            Content::auth_enveloped(&mut data)?
        };
        let id = content.identify();
        let (fitted, attempted) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { recipients, fitted, content, id, attempted, failures, gave_up: false })
    }

    /// Describes the recipients as far as the message identifies them: for each the size of its RSA
    /// key, and the serial number or the key identifier of its certificate.
    pub fn recipients(&self) -> Vec<String> {
        self.recipients.iter().map(Recipient::describe).collect()
    }

    /// Whether an alteration of the content is detected.
    pub fn is_authenticated(&self) -> bool {
        self.content.is_authenticated()
    }

    /// Tries the keys of `search` on the recipients until `accept` accepts the content. Each
    /// combination is tried only once, even over several calls. It returns none if nothing is accepted;
    /// [`Envelope::failures`] returns the reasons.
    ///
    /// It tries nothing if the content is not authenticated.
    pub fn open<'k, T, R: TryCryptoRng + ?Sized>(
        &mut self,
        which: Which,
        search: &mut Search<'k>,
        bounds: &mut Bounds,
        rng: &mut R,
        mut accept: impl FnMut(&[u8]) -> Result<T, OptionsError>,
    ) -> Option<Opened<'k, T>> {
        if !self.is_authenticated() {
            return None;
        }
        for position in 0..self.recipients.len() {
            match self.open_one(position, which, search, bounds, rng, &mut accept) {
                Ok(found @ Some(_)) => return found,
                Ok(None) => {}
                Err(failure) => {
                    self.failures.insert(0, failure);
                    self.gave_up = true;
                    return None;
                }
            }
        }
        None
    }

    /// Records in `search` which encrypted keys are used with this content, if it is not authenticated.
    pub(crate) fn announce(&self, search: &mut Search<'_>) {
        if !self.is_authenticated() {
            self.recipients.iter().for_each(|recipient| search.announce(recipient, self.id));
        }
    }

    /// Tries every key that may be meant on every recipient of a content that is not authenticated, and
    /// adds the results to `outcome`. These keys depend only on the message and on the ring: they are
    /// the keys whose certificate a recipient names or, if there are none, every RSA key of the right
    /// size. All messages must have been announced before.
    ///
    /// # Errors
    /// [`Pkcs7Error::TooMuchWork`], [`Pkcs7Error::NoRandomness`].
    pub(crate) fn open_unauthenticated<R: TryCryptoRng + ?Sized>(
        &mut self,
        search: &mut Search<'_>,
        bounds: &mut Bounds,
        rng: &mut R,
        public: &PublicOptions,
        outcome: &mut UnauthenticatedOutcome,
    ) -> Result<(), Pkcs7Error> {
        if self.is_authenticated() {
            return Ok(());
        }
        search.starts_over();
        for position in 0..self.recipients.len() {
            bounds.budget.spend(cost::RECIPIENT + cost::COMPARISON * search.keys() as u64)?;
            let recipient = &self.recipients[position];
            let named = search.keys_for(recipient, Which::Named);
            let keys =
                if named.is_empty() { search.keys_for(recipient, Which::AnyKey) } else { named };
            if !keys.is_empty() {
                self.fitted.insert(position);
            }
            if search.has_several_contents(recipient) {
                remember(&mut self.failures, Pkcs7Error::SeveralContents);
                continue;
            }
            for key in keys {
                let Some(attempt) = self.attempt(position, key, search, bounds, rng)? else {
                    continue;
                };
                let content_key = attempt.content_key;
                let text = content_key.and_then(|key| self.content.decrypt_unauthenticated(&key));
                outcome.add(search.rsa_key(key), &self.id, text, public);
                outcome.tells(&attempt.algorithms);
            }
        }
        Ok(())
    }

    /// Tries the recipient at `position`. An error ends the search.
    fn open_one<'k, T, R: TryCryptoRng + ?Sized>(
        &mut self,
        position: usize,
        which: Which,
        search: &mut Search<'k>,
        bounds: &mut Bounds,
        rng: &mut R,
        accept: &mut impl FnMut(&[u8]) -> Result<T, OptionsError>,
    ) -> Result<Option<Opened<'k, T>>, Pkcs7Error> {
        let recipient = &self.recipients[position];
        bounds.budget.spend(cost::RECIPIENT + cost::COMPARISON * search.keys() as u64)?;
        let keys = search.keys_for(recipient, which);
        if !keys.is_empty() {
            self.fitted.insert(position);
        }
        for key in keys {
            let attempt = self.attempt(position, key, search, bounds, rng)?;
            let Some(Attempt { content_key, algorithms }) = attempt else { continue };
            let text = content_key.and_then(|key| self.content.decrypt(&key));
            let failure = match text.map(|text| accept(&text)) {
                Some(Ok(accepted)) => {
                    return Ok(Some(Opened { accepted, key: search.key(key), algorithms }));
                }
                Some(Err(reason)) => Pkcs7Error::Useless(reason),
                None => Pkcs7Error::WrongKey,
            };
            remember(&mut self.failures, failure);
        }
        Ok(None)
    }

    /// Uses a key on the recipient at `position`. None if that was done before, or if an algorithm is
    /// not accepted.
    fn attempt<R: TryCryptoRng + ?Sized>(
        &mut self,
        position: usize,
        key: usize,
        search: &mut Search<'_>,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Result<Option<Attempt>, Pkcs7Error> {
        let recipient = &self.recipients[position];
        bounds.budget.spend(cost::ATTEMPT)?;
        let length = self.content.key_length();
        let id = recipient.identify(key, length);
        if !self.attempted.insert(id) {
            return Ok(None);
        }
        let of_key = search.key(key).algorithm().filter(|_| self.is_authenticated());
        let of_message = [recipient.transport.algorithm(), self.content.algorithm()];
        let algorithms: Vec<_> = of_key.into_iter().chain(of_message).collect();
        if let Err(refused) = bounds.algorithms.check(&algorithms) {
            remember(&mut self.failures, refused.into());
            return Ok(None);
        }
        let content_key = search.content_key(key, recipient, id, length, bounds, rng)?;
        self.content.pay(&mut bounds.budget)?;
        Ok(Some(Attempt { content_key, algorithms }))
    }

    /// What went wrong so far; each reason occurs once.
    pub(crate) fn failures_so_far(&self) -> &[Pkcs7Error] {
        &self.failures
    }

    /// Why it could not be opened after every key has been tried; each reason occurs once.
    pub fn failures(&self) -> Vec<Pkcs7Error> {
        let mut failures = self.failures.clone();
        if self.gave_up {
            return failures;
        }
        for (position, recipient) in self.recipients.iter().enumerate() {
            if !self.fitted.contains(&position) {
                let bits = recipient.encrypted_key.len() * 8;
                remember(&mut failures, Pkcs7Error::NoKeyOfKind { bits });
            }
        }
        failures
    }

    /// Whether the search ended before every key was tried.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether another key could open it. If the content is not authenticated, this is not the case if
    /// a recipient names an open key.
    pub(crate) fn takes_keys(&self, search: &Search<'_>) -> bool {
        let mut recipients = self.recipients.iter();
        match self.is_authenticated() {
            true => !self.recipients.is_empty(),
            false => !recipients.any(|recipient| search.is_named(recipient)),
        }
    }
}

/// The result of one key on one recipient.
struct Attempt {
    /// None if it is known that the recipient is not for this key.
    content_key: Option<Zeroizing<Vec<u8>>>,
    /// All algorithms that protect the content.
    algorithms: Vec<Algorithm>,
}

/// The content of a message, and how it was opened.
pub struct Opened<'k, T> {
    /// The result of accepting the content.
    pub accepted: T,
    /// The key that fits.
    pub key: &'k PrivateKey,
    /// All algorithms that protected the content.
    pub algorithms: Vec<Algorithm>,
}

fn remember(failures: &mut Vec<Pkcs7Error>, failure: Pkcs7Error) {
    if failures.len() < TOLD && !failures.contains(&failure) {
        failures.push(failure);
    }
}
