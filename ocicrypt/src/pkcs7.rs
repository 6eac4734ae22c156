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
//! Content in CBC is not authenticated. Whoever can change it could learn from errors what the
//! key is for, so that one text, [`Pkcs7Error::WrongKey`], stands for all that can go wrong from
//! the private-key operation on. What was changed and opens nevertheless is a wrong layer key,
//! with which the layer does not verify.

mod ber;
mod certificate;
mod content;
#[cfg(feature = "encrypt")]
mod encrypt;
mod oid;
mod recipient;
mod search;

use std::collections::BTreeSet;

use rsa::rand_core::TryCryptoRng;

use crate::keyring::NamedKey;

use self::ber::{CONSTRUCTED, INTEGER, Reader, SEQUENCE, SET, context};
pub use self::certificate::Certificate;
use self::content::Content;
#[cfg(feature = "encrypt")]
pub(crate) use self::encrypt::{Pkcs7Recipient, encrypt};
use self::recipient::Recipient;
pub use self::search::{Search, Which};

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

/// A parsed message, and what came of opening it.
pub struct Envelope {
    recipients: Vec<Recipient>,
    content: Content,
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
        Ok(Self { recipients, content, attempted: BTreeSet::new(), failures })
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

    /// Tries keys on the recipients, each combination once however often it is asked for, until
    /// `accept` takes what came out: that, and the key; none if it never does. Why is told by
    /// [`Envelope::failures`].
    ///
    /// `accept` says why it refuses a content; that is told only if the content is authentic.
    pub fn open<'k, T, R: TryCryptoRng + ?Sized>(
        &mut self,
        which: Which,
        search: &mut Search<'k>,
        rng: &mut R,
        mut accept: impl FnMut(&[u8]) -> Result<T, String>,
    ) -> Option<(T, &'k NamedKey)> {
        for recipient in &self.recipients {
            let keys = search.keys_for(recipient, which);
            if keys.is_empty() && which == Which::AnyKey {
                let bits = recipient.encrypted_key.len() * 8;
                remember(&mut self.failures, Pkcs7Error::NoKeyOfKind { bits });
            }
            for key in keys {
                let length = self.content.key_length();
                let id = recipient.identify(key, length);
                if !self.attempted.insert(id) {
                    continue;
                }
                let failure = match search.content_key(key, recipient, id, length, rng) {
                    Ok(content_key) => {
                        let text = content_key.and_then(|key| self.content.decrypt(&key));
                        match text.map(|text| accept(&text)) {
                            Some(Ok(accepted)) => return Some((accepted, search.key(key))),
                            Some(Err(reason)) if self.content.is_authenticated() => {
                                Pkcs7Error::Useless(reason)
                            }
                            _ => Pkcs7Error::WrongKey,
                        }
                    }
                    Err(failure) => failure,
                };
                let hopeless =
                    matches!(failure, Pkcs7Error::TooMuchWork | Pkcs7Error::NoRandomness);
                remember(&mut self.failures, failure);
                if hopeless {
                    return None;
                }
            }
        }
        None
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
