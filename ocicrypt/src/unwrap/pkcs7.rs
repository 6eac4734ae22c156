//! Wrapped keys in PKCS#7.

use rsa::rand_core::TryCryptoRng;

use super::failure::none_tried;
use super::{Found, OpenedBy, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::bounds::Bounds;
use crate::keyring::{KeyRing, NamedKey, Which, describe};
use crate::options::{PublicOptions, layer_key_of};
use crate::pkcs7::{self, Envelope, Pkcs7Error, UnauthenticatedOutcome};

/// All messages of a layer, and what came of them so far. Those whose content is authenticated are
/// tried first; the others only when nothing else has opened, since they always come to a layer key,
/// be it a wrong one.
pub(super) struct Search<'a> {
    keys: &'a WrappedKeys,
    public: &'a PublicOptions,
    envelopes: Vec<(usize, Envelope)>,
    search: pkcs7::Search<'a>,
    reasons: Reasons,
    is_over: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(keys: &'a WrappedKeys, public: &'a PublicOptions, ring: &'a KeyRing) -> Self {
        let mut reasons = Reasons::of(keys);
        let mut envelopes = Vec::new();
        for (item, bytes) in &keys.items {
            match Envelope::parse(bytes) {
                Ok(envelope) => envelopes.push((*item, envelope)),
                Err(error) => reasons.mended_by(remedy(&error), *item, error.to_string()),
            }
        }
        let search = pkcs7::Search::new(ring);
        Self { keys, public, envelopes, search, reasons, is_over: false }
    }

    /// First tries the keys whose certificates are named, on all wrapped keys, because they are
    /// likely right; only then the others.
    pub(super) fn with_all<R: TryCryptoRng + ?Sized>(
        &mut self,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Found> {
        let public = self.public;
        let accept =
            |content: &[u8]| layer_key_of(content, public).map_err(|error| error.to_string());
        for which in [Which::Named, Which::AnyKey] {
            for (_, envelope) in &mut self.envelopes {
                if self.is_over {
                    return None;
                }
                let opened = envelope.open(which, &mut self.search, bounds, rng, accept);
                if let Some(opened) = opened {
                    let (key, algorithms) = (opened.accepted, opened.algorithms);
                    let by = opened.key.into();
                    return Some(Found { key, by, algorithms, is_authenticated: true });
                }
                self.is_over |= envelope.gave_up();
            }
        }
        None
    }

    /// Tries a key that has been opened meanwhile.
    pub(super) fn with_next<R: TryCryptoRng + ?Sized>(
        &mut self,
        key: &'a NamedKey,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Found> {
        self.search.goes_on_with(key);
        self.with_all(bounds, rng)
    }

    /// The layer key of the messages whose content is not authenticated. All of them are tried with
    /// every key, whatever comes out; if nothing does, the layer key is made up, and does not open
    /// the layer. None where there is nothing to try.
    pub(super) fn open_unauthenticated<R: TryCryptoRng + ?Sized>(
        &mut self,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Found> {
        if self.is_over {
            return None;
        }
        self.envelopes.iter().for_each(|(_, envelope)| envelope.announce(&mut self.search));
        let mut outcome = UnauthenticatedOutcome::default();
        for (item, envelope) in &mut self.envelopes {
            let (search, public) = (&mut self.search, self.public);
            let tried = envelope.open_unauthenticated(search, bounds, rng, public, &mut outcome);
            if let Err(error) = tried {
                self.reasons.mended_by(remedy(&error), *item, error.to_string());
                self.is_over = true;
                return None;
            }
        }
        let algorithms = outcome.algorithms().to_vec();
        match outcome.layer_key()? {
            Ok(key) => {
                let by = self.one_of_the_tried();
                Some(Found { key, by, algorithms, is_authenticated: false })
            }
            Err(error) => {
                // Of the public options, with whatever key: all messages have failed for it.
                let items = self.envelopes.iter().map(|(item, _)| *item);
                items.for_each(|item| self.reasons.add(item, error.to_string()));
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

    /// Whether another key could help.
    pub(super) fn goes_on(&self) -> bool {
        !self.is_over
            && self.envelopes.iter().any(|(_, envelope)| envelope.takes_keys(&self.search))
    }

    /// There are keys left that will not be tried.
    pub(super) fn gives_up(&mut self) {
        if self.goes_on()
            && let Some((item, _)) = self.envelopes.first()
        {
            let error = Pkcs7Error::TooMuchWork;
            self.reasons.mended_by(remedy(&error), *item, error.to_string());
            self.is_over = true;
        }
    }

    pub(super) fn failure(mut self, ring: &KeyRing) -> SchemeFailure {
        let of = ring.candidates();
        if of == 0 && !self.is_over {
            return SchemeFailure::new(self.keys, Outcome::NoKeys);
        }
        for (item, envelope) in &self.envelopes {
            // Of what was not tried nothing is known.
            let failures = match self.is_over {
                true => envelope.failures_so_far().to_vec(),
                false => envelope.failures(),
            };
            for failure in failures {
                self.reasons.mended_by(remedy(&failure), *item, failure.to_string());
            }
        }
        let tried = self.search.tried().len();
        let keys = match tried {
            0 if of == 0 => "no key could be opened".to_owned(),
            0 => none_tried(of, "key"),
            _ => describe(self.search.tried()),
        };
        let certificates = match self.search.certificates() {
            0 => "without a certificate".to_owned(),
            1 => "with 1 certificate".to_owned(),
            count => format!("with {count} certificates"),
        };
        let described = format!("{keys}, {certificates}");
        SchemeFailure::new(self.keys, self.reasons.tried(tried, of, described))
    }
}

/// Keys that are named where several were tried.
const LISTED: usize = 3;

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
        Pkcs7Error::BelowMinimum(_) => Remedy::Algorithms,
        Pkcs7Error::TooMuchWork => Remedy::Fewer,
        _ => Remedy::Image,
    }
}
