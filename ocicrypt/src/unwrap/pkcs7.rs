//! Wrapped keys in PKCS#7.

use rsa::rand_core::TryCryptoRng;

use super::failure::none_tried;
use super::{OpenedBy, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::keyring::{KeyRing, NamedKey, describe};
use crate::layer::LayerKey;
use crate::options::{PublicOptions, layer_key_of};
use crate::pkcs7::{Envelope, Pkcs7Error, Search, UnauthenticatedOutcome, Which};

/// The messages of a layer. Those whose content is authenticated are tried first, in the order of
/// the schemes; the others only when nothing else has opened, since they always come to a layer
/// key, be it a wrong one.
pub(super) struct Messages<'a> {
    keys: &'a WrappedKeys,
    ring: &'a KeyRing,
    envelopes: Vec<(usize, Envelope)>,
    search: Search<'a>,
    reasons: Reasons,
}

impl<'a> Messages<'a> {
    pub(super) fn parse(keys: &'a WrappedKeys, ring: &'a KeyRing) -> Self {
        let mut reasons = Reasons::of(keys);
        let mut envelopes = Vec::new();
        for (item, bytes) in &keys.items {
            match Envelope::parse(bytes) {
                Ok(envelope) => envelopes.push((*item, envelope)),
                Err(error) => reasons.mended_by(remedy(&error), *item, error.to_string()),
            }
        }
        Self { keys, ring, envelopes, search: Search::new(ring), reasons }
    }

    /// Opens a message whose content is authenticated. First tries the keys whose certificates are
    /// named, on all wrapped keys, because they are likely right; only then the others.
    pub(super) fn open<R: TryCryptoRng + ?Sized>(
        &mut self,
        public: &PublicOptions,
        rng: &mut R,
    ) -> Option<(LayerKey, OpenedBy)> {
        let accept =
            |content: &[u8]| layer_key_of(content, public).map_err(|error| error.to_string());
        for which in [Which::Named, Which::AnyKey] {
            for (_, envelope) in &mut self.envelopes {
                if let Some((key, by)) = envelope.open(which, &mut self.search, rng, accept) {
                    return Some((key, by.into()));
                }
            }
        }
        None
    }

    /// The layer key of the messages whose content is not authenticated. All of them are tried with
    /// every key, whatever comes out; if nothing does, the layer key is made up, and does not open
    /// the layer. None where there is nothing to try.
    pub(super) fn open_unauthenticated<R: TryCryptoRng + ?Sized>(
        &mut self,
        public: &PublicOptions,
        rng: &mut R,
    ) -> Option<(LayerKey, OpenedBy)> {
        self.envelopes.iter().for_each(|(_, envelope)| envelope.announce(&mut self.search));
        let mut outcome = UnauthenticatedOutcome::default();
        for (item, envelope) in &mut self.envelopes {
            let tried = envelope.open_unauthenticated(&mut self.search, rng, public, &mut outcome);
            if let Err(error) = tried {
                if error == Pkcs7Error::TooMuchWork {
                    self.reasons.leave_undecided();
                }
                self.reasons.mended_by(remedy(&error), *item, error.to_string());
                return None;
            }
        }
        match outcome.layer_key()? {
            Ok(key) => Some((key, self.one_of_the_tried())),
            Err(error) => {
                // Of the public options, with whatever key: all messages have failed for it.
                let items: Vec<_> = self.envelopes.iter().map(|(item, _)| *item).collect();
                items.into_iter().for_each(|item| self.reasons.add(item, error.to_string()));
                None
            }
        }
    }

    /// All keys that were tried: which of them opened the message must not be told, since none may
    /// have.
    fn one_of_the_tried(&self) -> OpenedBy {
        let mut tried = self.search.tried();
        if let (1, Some(one)) = (tried.len(), tried.clone().next()) {
            return one.into();
        }
        let names: Vec<_> = tried.by_ref().take(LISTED).map(NamedKey::name).collect();
        let more = if tried.next().is_some() { " or another" } else { "" };
        OpenedBy { name: format!("{}{more}", names.join(" or ")), fingerprint: None }
    }

    /// Why no message was opened.
    pub(super) fn failure(mut self) -> SchemeFailure {
        if self.ring.is_empty() {
            return SchemeFailure::new(self.keys, Outcome::NoKeys);
        }
        for (item, envelope) in &self.envelopes {
            for failure in envelope.failures() {
                if *failure == Pkcs7Error::TooMuchWork {
                    self.reasons.leave_undecided();
                }
                self.reasons.mended_by(remedy(failure), *item, failure.to_string());
            }
        }
        SchemeFailure::new(self.keys, tried(&self.search, self.ring, self.reasons))
    }
}

/// Keys that are named where several were tried.
const LISTED: usize = 3;

fn tried(search: &Search<'_>, ring: &KeyRing, reasons: Reasons) -> Outcome {
    let (tried, of) = (search.tried().len(), ring.len());
    let keys = match tried {
        0 => none_tried(of, "key"),
        _ => describe(search.tried()),
    };
    let certificates = match search.certificates() {
        0 => "without a certificate".to_owned(),
        1 => "with 1 certificate".to_owned(),
        count => format!("with {count} certificates"),
    };
    reasons.tried(tried, of, format!("{keys}, {certificates}"))
}

fn remedy(error: &Pkcs7Error) -> Remedy {
    match error {
        Pkcs7Error::NoKeyOfKind { .. } => Remedy::Key,
        Pkcs7Error::WrongKey => Remedy::KeyOrImage,
        Pkcs7Error::NotEnveloped(_)
        | Pkcs7Error::UnsupportedCipher(_)
        | Pkcs7Error::UnsupportedTransport(_)
        | Pkcs7Error::UnsupportedHash(_)
        | Pkcs7Error::Label
        | Pkcs7Error::UnsupportedRecipient(_) => Remedy::Encryption,
        _ => Remedy::Image,
    }
}
