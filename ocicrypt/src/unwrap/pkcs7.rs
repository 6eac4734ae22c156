//! Wrapped keys in PKCS#7.

use rsa::rand_core::TryCryptoRng;

use super::OpenedBy;
use super::failure::{SchemeFailure, TriedKeys};
use super::reason::Reason;
use super::scheme::{Found, Input, Progress, SchemeSearch, Stage, Tools};
use crate::format::options::layer_key_of;
use crate::keyring::NamedKey;
use crate::keys::Which;
use crate::pkcs7::{self, Envelope, Pkcs7Error, UnauthenticatedOutcome};

/// The most keys that are named if several were tried.
const LISTED: usize = 3;

/// All messages of a layer, and the results so far. Messages with authenticated content are tried
/// first. The others are tried only if nothing else has opened, because they always result in a layer
/// key, even if it is a wrong one.
pub(super) struct Search<'a> {
    envelopes: Vec<(usize, Envelope)>,
    search: pkcs7::Search<'a>,
    progress: Progress<'a>,
}

impl<'a> Search<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        let mut progress = Progress::new(input);
        let envelopes = progress.parse(Envelope::parse);
        let keys = input.ring.ready().map(NamedKey::key);
        let search = pkcs7::Search::new(keys, input.ring.certificates());
        Self { envelopes, search, progress }
    }

    /// First tries the keys whose certificates are named on all wrapped keys, because they are probably
    /// the right ones, and only then the others.
    fn with_all<R: TryCryptoRng + ?Sized>(&mut self, tools: &mut Tools<'_, R>) -> Option<Found> {
        let input = self.progress.input;
        for which in [Which::Named, Which::AnyKey] {
            for (_, envelope) in &mut self.envelopes {
                if self.progress.is_over {
                    return None;
                }
                let (search, bounds) = (&mut self.search, &mut *tools.bounds);
                let accept = |content: &[u8]| layer_key_of(content, input.public);
                if let Some(opened) = envelope.open(which, search, bounds, tools.rng, accept) {
                    let (key, algorithms) = (opened.accepted, opened.algorithms);
                    let by = input.ring.named(opened.key)?.into();
                    return Some(Found { key, by, algorithms, is_authenticated: true });
                }
                self.progress.is_over |= envelope.gave_up();
            }
        }
        None
    }

    /// The layer key of the messages whose content is not authenticated. All of them are tried with
    /// every key, whatever the results are. If no content has a layer key, it is made up, and does not
    /// open the layer. None if there is nothing to try.
    fn open_unauthenticated<R: TryCryptoRng + ?Sized>(
        &mut self,
        tools: &mut Tools<'_, R>,
    ) -> Option<Found> {
        if self.progress.is_over {
            return None;
        }
        self.envelopes.iter().for_each(|(_, envelope)| envelope.announce(&mut self.search));
        let mut outcome = UnauthenticatedOutcome::default();
        for (item, envelope) in &mut self.envelopes {
            let (search, public) = (&mut self.search, self.progress.input.public);
            let (bounds, rng) = (&mut *tools.bounds, &mut *tools.rng);
            let tried = envelope.open_unauthenticated(search, bounds, rng, public, &mut outcome);
            if let Err(error) = tried {
                self.progress.end(*item, error);
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
                // The error is about the public options and applies to every key, so all messages have
                // failed for it.
                for (item, _) in &self.envelopes {
                    self.progress.reasons.add(*item, Reason::PublicOptions(error.clone()));
                }
                None
            }
        }
    }

    /// All keys that were tried. It must not be known which of them opened the message, since possibly
    /// none did.
    fn one_of_the_tried(&self) -> OpenedBy {
        let ring = self.progress.input.ring;
        let mut tried = self.search.tried().filter_map(|key| ring.named(key));
        if let (1, Some(one)) = (self.search.tried().len(), tried.clone().next()) {
            return one.into();
        }
        let names: Vec<_> = tried.by_ref().take(LISTED).map(NamedKey::name).collect();
        let more = if tried.next().is_some() { " or another" } else { "" };
        OpenedBy { name: format!("{}{more}", names.join(" or ")), fingerprint: None }
    }

    fn can_be_opened(&self) -> bool {
        let mut envelopes = self.envelopes.iter();
        !self.progress.is_over && envelopes.any(|(_, envelope)| envelope.takes_keys(&self.search))
    }
}

impl<'a, R: TryCryptoRng + ?Sized> SchemeSearch<'a, R> for Search<'a> {
    fn attempt(&mut self, stage: Stage<'a>, tools: &mut Tools<'_, R>) -> Option<Found> {
        match stage {
            Stage::OpenKeys => self.with_all(tools),
            Stage::NextKey(key) => {
                self.search.goes_on_with(key.key());
                self.with_all(tools)
            }
            Stage::Unauthenticated => self.open_unauthenticated(tools),
            _ => None,
        }
    }

    fn takes_keys(&self) -> bool {
        self.can_be_opened()
    }

    fn give_up(&mut self) {
        if self.can_be_opened()
            && let Some((item, _)) = self.envelopes.first()
        {
            self.progress.end(*item, Pkcs7Error::TooMuchWork);
        }
    }

    fn failure(self: Box<Self>) -> SchemeFailure {
        let Self { envelopes, search, mut progress } = *self;
        for (item, envelope) in envelopes {
            // Nothing is known about messages that were not tried.
            let failures = match progress.is_over {
                true => envelope.failures_so_far().to_vec(),
                false => envelope.failures(),
            };
            failures.into_iter().for_each(|failure| progress.reasons.add(item, failure));
        }
        let ring = progress.input.ring;
        let keys = TriedKeys::of_ring(ring.list(search.tried()), ring.candidates());
        let keys = TriedKeys::WithCertificates(Box::new(keys), search.certificates());
        progress.failure(search.tried().len(), keys)
    }
}
