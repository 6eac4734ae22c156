//! Wrapped keys in JWE.

use rsa::rand_core::TryCryptoRng;

use super::failure::{SchemeFailure, TriedKeys};
use super::scheme::{Found, Input, Progress, SchemeSearch, Stage, Tools};
use crate::budget::cost;
use crate::jwe::{self, Jwe, JweError};
use crate::keyring::NamedKey;
use crate::keys::{PrivateKey, Which};

/// All JWEs of a layer, and the results so far.
pub(super) struct Search<'a> {
    /// The JWEs with their positions in the list; none if the content could not be used.
    jwes: Vec<(usize, Option<Jwe>)>,
    tried: jwe::Search<'a>,
    progress: Progress<'a>,
}

impl<'a> Search<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        let mut progress = Progress::new(input);
        let jwes = progress.parse(|bytes| Jwe::parse(bytes).map(Some));
        Self { jwes, tried: jwe::Search::default(), progress }
    }

    /// Tries these keys: first each key on the wrapped keys that name it, then all keys on all wrapped
    /// keys.
    fn with<R: TryCryptoRng + ?Sized>(
        &mut self,
        keys: &[&'a PrivateKey],
        tools: &mut Tools<'_, R>,
    ) -> Option<Found> {
        let Progress { input, reasons, is_over } = &mut self.progress;
        for which in [Which::Named, Which::AnyKey] {
            for (item, place) in &mut self.jwes {
                let Some(jwe) = place.as_mut().filter(|_| !*is_over) else { continue };
                let opened = jwe.open(which, keys, &mut self.tried, tools.bounds, tools.rng);
                let Some(opened) = opened else {
                    *is_over = jwe.gave_up();
                    continue;
                };
                *place = None;
                let length = opened.content.len();
                if let Err(error) = tools.bounds.budget.spend_on_bytes(length, cost::READ) {
                    reasons.add(*item, JweError::from(error));
                    *is_over = true;
                } else if let Some(key) = reasons.accept(*item, &opened.content, input.public) {
                    let by = input.ring.named(opened.key)?.into();
                    let algorithms = opened.algorithms;
                    return Some(Found { key, by, algorithms, is_authenticated: true });
                }
            }
        }
        None
    }

    fn can_be_opened(&self) -> bool {
        let mut jwes = self.jwes.iter().filter_map(|(_, jwe)| jwe.as_ref());
        !self.progress.is_over && jwes.any(Jwe::takes_keys)
    }
}

impl<'a, R: TryCryptoRng + ?Sized> SchemeSearch<'a, R> for Search<'a> {
    fn attempt(&mut self, stage: Stage<'a>, tools: &mut Tools<'_, R>) -> Option<Found> {
        match stage {
            Stage::OpenKeys => {
                let keys: Vec<_> = self.progress.input.ring.ready().map(NamedKey::key).collect();
                self.with(&keys, tools)
            }
            Stage::NextKey(key) => self.with(&[key.key()], tools),
            _ => None,
        }
    }

    fn takes_keys(&self) -> bool {
        self.can_be_opened()
    }

    fn give_up(&mut self) {
        if self.can_be_opened()
            && let Some((item, _)) = self.jwes.first()
        {
            self.progress.end(*item, JweError::TooMuchWork);
        }
    }

    fn failure(self: Box<Self>) -> SchemeFailure {
        let Self { jwes, tried, mut progress } = *self;
        for (item, jwe) in jwes {
            let Some(jwe) = jwe else { continue };
            // Nothing is known about JWEs that were not tried.
            let errors =
                if progress.is_over { jwe.failures_so_far().to_vec() } else { jwe.failures() };
            errors.into_iter().for_each(|error| progress.reasons.add(item, error));
        }
        let ring = progress.input.ring;
        let listed = ring.list(tried.tried().iter().copied());
        let keys = TriedKeys::of_ring(listed, ring.candidates());
        progress.failure(tried.tried().len(), keys)
    }
}
