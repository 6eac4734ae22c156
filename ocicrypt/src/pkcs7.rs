//! Cryptographic Message Syntax (RFC 5652), as much of it as wraps the keys of layers.
//!
//! `EnvelopedData` (RFC 5652, section 6) and `AuthEnvelopedData` (RFC 5083), in BER or DER, for
//! recipients with an RSA key: RSAES-PKCS1-v1_5 and RSAES-OAEP (RFC 3560). Content encryption:
//! DES-CBC, 3DES-CBC, AES-CBC and AES-GCM with keys of 128, 192 and 256 bits. Go writes AES-GCM
//! where the standard has no place for it, in a form of its own: that is read too.
//!
//! Go ctd-decoder tries every private key with every certificate, and none without. Keycell first
//! tries each key for the recipients that its certificate names, then every RSA key of the right
//! size for every recipient, certificate or not: a certificate that was renewed or not delivered
//! does not lock anyone out of a layer. All of it is bounded by a
//! [`Budget`](crate::budget::Budget).
//!
//! Content in CBC is not authenticated. It is tried last, and whoever changes it learns nothing
//! from what comes of it: it always comes to a layer key, if a wrong one (`unauthenticated.rs`).
//! An encrypted key that comes with several such contents is not tried at all, so that nobody gets
//! an answer about each.

mod content;
#[cfg(feature = "encrypt")]
mod encrypt;
mod recipient;
mod search;
mod unauthenticated;

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
use self::recipient::Recipient;
pub use self::search::Search;
pub(crate) use self::unauthenticated::Outcome as UnauthenticatedOutcome;
#[cfg(feature = "timing")]
pub use self::unauthenticated::has_padding;
use crate::encoding::asn1::{CONSTRUCTED, INTEGER, Reader, SEQUENCE, SET, context};

/// Failures that a message remembers: more would not be told.
const TOLD: usize = 16;

/// Why a message, or one recipient of it, was refused. The texts show names of algorithms from
/// the input at most, cut short, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs7Error {
    /// Something is missing or of the wrong form.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A message that is not encrypted for recipients, such as a signed one.
    #[error("not an encrypted message (content type `{0}`)")]
    NotEnveloped(String),
    /// A content cipher that the format does not have.
    #[error("the content cipher `{0}` is not one of the format")]
    UnsupportedCipher(String),
    /// A way to encrypt the content key that the format does not have.
    #[error("the key transport `{0}` is not one of the format")]
    UnsupportedTransport(String),
    /// A hash function, or a mask generation, that OAEP does not have here.
    #[error("OAEP with `{0}` is not one of the format")]
    UnsupportedHash(String),
    /// OAEP with a label.
    #[error("OAEP with a label is not one of the format")]
    Label,
    /// A recipient without an RSA key. Holds its kind in words.
    #[error("a recipient by {0}: only those with an RSA key can be read")]
    UnsupportedRecipient(&'static str),
    /// No key of the ring can have been meant.
    #[error("no key of this kind (RSA-{bits})")]
    NoKeyOfKind {
        /// The length of the modulus that the wrapped key tells, in bits.
        bits: usize,
    },
    /// Every key of the right kind was tried, in vain.
    #[error("wrong key, or altered")]
    WrongKey,
    /// Two contents that are not authenticated come with the same encrypted key. Nobody who encrypts
    /// uses one twice.
    #[error("its encrypted key comes with another content too, and neither is authenticated")]
    SeveralContents,
    /// A key fits and the content is authentic, but it is of no use. Holds why.
    #[error("it was opened, but {0}")]
    Useless(OptionsError),
    /// An algorithm that the caller does not accept.
    #[error(transparent)]
    BelowMinimum(#[from] BelowMinimum),
    /// The budget is spent, and not every key was tried.
    #[error("too much work: gave up before every key was tried on every wrapped key")]
    TooMuchWork,
    /// The generator of random numbers failed.
    #[error("no random numbers for a private-key operation")]
    NoRandomness,
}

impl From<Exhausted> for Pkcs7Error {
    fn from(_: Exhausted) -> Self {
        Self::TooMuchWork
    }
}

/// A parsed message, and what came of opening it.
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
    /// Parses a `ContentInfo` (RFC 5652, section 3); what follows it is ignored. A bad recipient
    /// does not spoil the others.
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
        // Versions tell only which of the parts below there are.
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

    /// The recipients as far as the message tells them: for each the size of its RSA key and the
    /// serial number, or the key identifier, of its certificate.
    pub fn recipients(&self) -> Vec<String> {
        let shown = self.recipients.iter().map(|recipient| {
            let bits = recipient.encrypted_key.len() * 8;
            format!("RSA-{bits} (certificate {})", recipient.name)
        });
        shown.collect()
    }

    /// Whether a content that was altered is noticed.
    pub fn is_authenticated(&self) -> bool {
        self.content.is_authenticated()
    }

    /// Tries the keys of `search` on the recipients, each combination once however often it is asked
    /// for, until `accept` takes what came out; none if it never does. Why is told by
    /// [`Envelope::failures`].
    ///
    /// Nothing is tried on a content that is not authenticated.
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

    /// Tells `search` which encrypted keys come with this content, if it is not authenticated.
    pub(crate) fn announce(&self, search: &mut Search<'_>) {
        if !self.is_authenticated() {
            self.recipients.iter().for_each(|recipient| search.announce(recipient, self.id));
        }
    }

    /// Tries every key that may be meant on every recipient of a content that is not
    /// authenticated, and adds what came of it to `outcome`. Which keys these are depends on the
    /// message and on the ring alone: those whose certificate a recipient names; where there are
    /// none, every RSA key of the right size. All messages must have been announced before.
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

    /// Tries the recipient at `position`; an error ends the search.
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

    /// Uses a key on the recipient at `position`. None if that was done before, or an algorithm is not
    /// accepted.
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

    /// What went wrong so far: different reasons once each.
    pub(crate) fn failures_so_far(&self) -> &[Pkcs7Error] {
        &self.failures
    }

    /// Why it could not be opened, when every key has been tried: different reasons once each.
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

    /// Whether another key could open it. Where nothing is authenticated, not if an open key is named.
    pub(crate) fn takes_keys(&self, search: &Search<'_>) -> bool {
        let mut recipients = self.recipients.iter();
        match self.is_authenticated() {
            true => !self.recipients.is_empty(),
            false => !recipients.any(|recipient| search.is_named(recipient)),
        }
    }
}

/// What came of one key on one recipient.
struct Attempt {
    /// None if the recipient's key is not for this one, as far as that shows.
    content_key: Option<Zeroizing<Vec<u8>>>,
    /// Everything that protects the content.
    algorithms: Vec<Algorithm>,
}

/// What a message held, and how it was opened.
pub struct Opened<'k, T> {
    /// What was made of the content.
    pub accepted: T,
    /// The key that fits.
    pub key: &'k PrivateKey,
    /// Everything that protected the content.
    pub algorithms: Vec<Algorithm>,
}

fn remember(failures: &mut Vec<Pkcs7Error>, failure: Pkcs7Error) {
    if failures.len() < TOLD && !failures.contains(&failure) {
        failures.push(failure);
    }
}
