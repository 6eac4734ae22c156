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
//! does not lock anyone out of a layer. Both together are bounded by [`crate::jwe::BUDGET`].
//!
//! Content in CBC is not authenticated. It is tried last, and whoever changes it learns nothing
//! from what comes of it: it always comes to a layer key, if a wrong one (`unauthenticated.rs`).
//! An encrypted key that comes with several such contents is not tried at all, so that nobody gets
//! an answer about each.

mod ber;
mod certificate;
mod content;
#[cfg(feature = "encrypt")]
mod encrypt;
mod oid;
mod recipient;
mod search;
mod unauthenticated;

use std::collections::BTreeSet;

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::keyring::NamedKey;
use crate::options::PublicOptions;

use self::ber::{CONSTRUCTED, INTEGER, Reader, SEQUENCE, SET, context};
pub use self::certificate::Certificate;
use self::content::Content;
#[cfg(feature = "encrypt")]
pub use self::encrypt::Pkcs7Form;
#[cfg(feature = "encrypt")]
pub(crate) use self::encrypt::{Pkcs7Recipient, encrypt};
use self::recipient::Recipient;
pub use self::search::{Search, Which};
pub(crate) use self::unauthenticated::Outcome as UnauthenticatedOutcome;
#[cfg(feature = "timing")]
pub use self::unauthenticated::has_padding;

/// Failures that a message remembers: more would not be told.
const TOLD: usize = 16;

/// Why a message, or one recipient of it, was refused. The texts show names of algorithms from
/// the input at most, cut short, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    Useless(String),
    /// So many wrapped keys were tried that enough is enough.
    #[error("too much work: gave up after many wrapped keys that no key fits")]
    TooMuchWork,
    /// The generator of random numbers failed.
    #[error("no random numbers for a private-key operation")]
    NoRandomness,
}

impl Pkcs7Error {
    /// Whether nothing else will open either.
    fn is_hopeless(&self) -> bool {
        matches!(self, Self::TooMuchWork | Self::NoRandomness)
    }
}

/// A parsed message, and what came of opening it.
pub struct Envelope {
    recipients: Vec<Recipient>,
    content: Content,
    /// The identity of the content.
    id: [u8; 32],
    attempted: BTreeSet<[u8; 32]>,
    failures: Vec<Pkcs7Error>,
}

impl Envelope {
    /// Parses a `ContentInfo` (RFC 5652, section 3); what follows it is ignored. A bad recipient
    /// does not spoil the others.
    ///
    /// # Errors
    /// [`Pkcs7Error::Malformed`], [`Pkcs7Error::NotEnveloped`], [`Pkcs7Error::UnsupportedCipher`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Pkcs7Error> {
        let malformed = Pkcs7Error::Malformed;
        let message = ber::definite(bytes).ok_or(malformed("not BER, or cut off"))?;
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
        Ok(Self { recipients, content, id, attempted: BTreeSet::new(), failures })
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

    /// Tries keys on the recipients, each combination once however often it is asked for, until
    /// `accept` takes what came out: that, and the key; none if it never does. Why is told by
    /// [`Envelope::failures`].
    ///
    /// Nothing is tried on a content that is not authenticated.
    pub fn open<'k, T, R: TryCryptoRng + ?Sized>(
        &mut self,
        which: Which,
        search: &mut Search<'k>,
        rng: &mut R,
        mut accept: impl FnMut(&[u8]) -> Result<T, String>,
    ) -> Option<(T, &'k NamedKey)> {
        if !self.is_authenticated() {
            return None;
        }
        for at in 0..self.recipients.len() {
            for key in self.keys_for(at, which, search) {
                let failure = match self.content_key(at, key, search, rng) {
                    Ok(None) => Pkcs7Error::WrongKey,
                    Ok(Some(content_key)) => match self.content.decrypt(&content_key) {
                        None => Pkcs7Error::WrongKey,
                        Some(text) => match accept(&text) {
                            Ok(accepted) => return Some((accepted, search.key(key))),
                            Err(reason) => Pkcs7Error::Useless(reason),
                        },
                    },
                    Err(failure) => failure,
                };
                let is_last = failure.is_hopeless();
                remember(&mut self.failures, failure);
                if is_last {
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
        rng: &mut R,
        public: &PublicOptions,
        outcome: &mut UnauthenticatedOutcome,
    ) -> Result<(), Pkcs7Error> {
        if self.is_authenticated() {
            return Ok(());
        }
        for at in 0..self.recipients.len() {
            let named = !search.keys_for(&self.recipients[at], Which::Named).is_empty();
            let which = if named { Which::Named } else { Which::AnyKey };
            if search.has_several_contents(&self.recipients[at]) {
                remember(&mut self.failures, Pkcs7Error::SeveralContents);
                continue;
            }
            for key in self.keys_for(at, which, search) {
                let content_key = self.content_key(at, key, search, rng)?;
                let text = content_key.and_then(|key| self.content.decrypt_unauthenticated(&key));
                outcome.add(search.rsa_key(key), &self.id, text, public);
            }
        }
        Ok(())
    }

    /// The keys to try for the recipient at a place, but those that were tried on the same before.
    fn keys_for(&mut self, at: usize, which: Which, search: &Search<'_>) -> Vec<usize> {
        let recipient = &self.recipients[at];
        let mut keys = search.keys_for(recipient, which);
        if keys.is_empty() && which == Which::AnyKey {
            let bits = recipient.encrypted_key.len() * 8;
            remember(&mut self.failures, Pkcs7Error::NoKeyOfKind { bits });
        }
        let length = self.content.key_length();
        keys.retain(|key| self.attempted.insert(recipient.identify(*key, length)));
        keys
    }

    fn content_key<R: TryCryptoRng + ?Sized>(
        &self,
        at: usize,
        key: usize,
        search: &mut Search<'_>,
        rng: &mut R,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Pkcs7Error> {
        let (recipient, length) = (&self.recipients[at], self.content.key_length());
        search.content_key(key, recipient, recipient.identify(key, length), length, rng)
    }

    /// Why it could not be opened, as far as it was tried: different reasons once each.
    pub fn failures(&self) -> &[Pkcs7Error] {
        &self.failures
    }
}

fn remember(failures: &mut Vec<Pkcs7Error>, failure: Pkcs7Error) {
    if failures.len() < TOLD && !failures.contains(&failure) {
        failures.push(failure);
    }
}
