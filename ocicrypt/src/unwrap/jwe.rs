//! Wrapped keys in JWE.

use rsa::rand_core::TryCryptoRng;

use super::failure::none_tried;
use super::{Found, Outcome, Reasons, Remedy, SchemeFailure};
use crate::annotation::WrappedKeys;
use crate::bounds::Bounds;
use crate::budget::cost;
use crate::jwe::{self, Jwe, JweError};
use crate::keyring::{KeyRing, NamedKey, Which, describe};
use crate::options::PublicOptions;

/// All JWEs of a layer, and what came of them so far.
pub(super) struct Search<'a> {
    keys: &'a WrappedKeys,
    public: &'a PublicOptions,
    /// With their positions in the list; none where what it holds was of no use.
    jwes: Vec<(usize, Option<Jwe>)>,
    tried: jwe::Search<'a>,
    reasons: Reasons,
    is_over: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(keys: &'a WrappedKeys, public: &'a PublicOptions) -> Self {
        let mut reasons = Reasons::of(keys);
        let mut jwes = Vec::new();
        for (item, bytes) in &keys.items {
            match Jwe::parse(bytes) {
                Ok(jwe) => jwes.push((*item, Some(jwe))),
                Err(error) => reasons.mended_by(remedy(&error), *item, error.to_string()),
            }
        }
        Self { keys, public, jwes, tried: jwe::Search::default(), reasons, is_over: false }
    }

    /// Tries these keys: first each where a wrapped key names it, then all on all.
    pub(super) fn with<R: TryCryptoRng + ?Sized>(
        &mut self,
        keys: &[&'a NamedKey],
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Found> {
        for which in [Which::Named, Which::AnyKey] {
            for (item, place) in &mut self.jwes {
                let Some(jwe) = place.as_mut().filter(|_| !self.is_over) else { continue };
                let Some(opened) = jwe.open(which, keys, &mut self.tried, bounds, rng) else {
                    self.is_over = jwe.gave_up();
                    continue;
                };
                *place = None;
                if let Err(error) = bounds.budget.spend_on_bytes(opened.content.len(), cost::READ) {
                    let error = JweError::from(error);
                    self.reasons.mended_by(remedy(&error), *item, error.to_string());
                    self.is_over = true;
                } else if let Some(key) = self.reasons.accept(*item, &opened.content, self.public) {
                    let (by, algorithms) = (opened.key.into(), opened.algorithms);
                    return Some(Found { key, by, algorithms, is_authenticated: true });
                }
            }
        }
        None
    }

    /// Whether another key could help.
    pub(super) fn goes_on(&self) -> bool {
        !self.is_over && self.jwes.iter().any(|(_, jwe)| jwe.as_ref().is_some_and(Jwe::takes_keys))
    }

    /// There are keys left that will not be tried.
    pub(super) fn gives_up(&mut self) {
        if self.goes_on()
            && let Some((item, _)) = self.jwes.first()
        {
            let error = JweError::TooMuchWork;
            self.reasons.mended_by(remedy(&error), *item, error.to_string());
            self.is_over = true;
        }
    }

    pub(super) fn failure(mut self, ring: &KeyRing) -> SchemeFailure {
        let of = ring.candidates();
        if of == 0 && !self.is_over {
            return SchemeFailure::new(self.keys, Outcome::NoKeys);
        }
        for (item, jwe) in &self.jwes {
            let Some(jwe) = jwe else { continue };
            // Of what was not tried nothing is known.
            let errors = if self.is_over { jwe.failures_so_far().to_vec() } else { jwe.failures() };
            for error in errors {
                self.reasons.mended_by(remedy(&error), *item, error.to_string());
            }
        }
        let tried = self.tried.tried();
        let described = match tried.len() {
            0 if of == 0 => "no key could be opened".to_owned(),
            0 => none_tried(of, "key"),
            _ => describe(tried.iter().copied()),
        };
        SchemeFailure::new(self.keys, self.reasons.tried(tried.len(), of, described))
    }
}

fn remedy(error: &JweError) -> Remedy {
    match error {
        JweError::WrongKey | JweError::NoKeyOfKind(_) => Remedy::Key,
        JweError::Critical
        | JweError::UnsupportedAlgorithm(_)
        | JweError::UnsupportedEncryption(_)
        | JweError::UnsupportedCompression(_) => Remedy::Encryption,
        JweError::BelowMinimum(_) => Remedy::Algorithms,
        JweError::TooMuchWork => Remedy::Fewer,
        _ => Remedy::Image,
    }
}
