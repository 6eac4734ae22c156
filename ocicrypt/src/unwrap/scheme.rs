//! The common parts of the search for the key of a layer in all schemes.

use super::OpenedBy;
use super::failure::{Outcome, SchemeFailure, TriedKeys};
use super::reason::{Reason, Reasons};
use crate::algorithms::Algorithm;
use crate::bounds::Bounds;
use crate::broker::Broker;
use crate::crypto::layer::LayerKey;
use crate::format::annotation::WrappedKeys;
use crate::format::options::PublicOptions;
use crate::format::payload::Parameters;
use crate::keyring::{KeyRing, NamedKey};

/// The wrapped keys of one scheme, and the results so far.
pub(super) trait SchemeSearch<'a, R: ?Sized> {
    /// Tries what the stage allows. None if nothing was opened, or if the scheme does not have this
    /// stage.
    fn attempt(&mut self, stage: Stage<'a>, tools: &mut Tools<'_, R>) -> Option<Found>;

    /// Whether another private key could help.
    fn takes_keys(&self) -> bool {
        false
    }

    /// Records that the budget is too small to open the next private key.
    fn give_up(&mut self) {}

    /// What was tried, if nothing was opened.
    fn failure(self: Box<Self>) -> SchemeFailure;
}

/// The stages of the search, in order. All schemes complete one before the next begins.
#[derive(Clone, Copy)]
pub(super) enum Stage<'a> {
    /// Try the private keys that are open.
    OpenKeys,
    /// Try the OpenPGP keys that are locked: each is unlocked when a message names it.
    LockedPgpKeys,
    /// Try a private key that has just been opened.
    NextKey(&'a NamedKey),
    /// Ask the broker.
    Broker,
    /// Try wrapped keys that are not authenticated.
    Unauthenticated,
}

/// The resources of a search.
pub(super) struct Tools<'t, R: ?Sized> {
    pub(super) bounds: &'t mut Bounds,
    pub(super) broker: &'t mut dyn Broker,
    pub(super) rng: &'t mut R,
}

/// The input of a search.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) wrapped: &'a WrappedKeys,
    pub(super) public: &'a PublicOptions,
    pub(super) ring: &'a KeyRing,
    pub(super) parameters: &'a Parameters,
}

/// The result of a search.
pub(super) struct Found {
    pub(super) key: LayerKey,
    pub(super) by: OpenedBy,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) is_authenticated: bool,
}

/// The state of a search.
pub(super) struct Progress<'a> {
    pub(super) input: Input<'a>,
    pub(super) reasons: Reasons,
    /// Whether a bound was reached, so that nothing more is tried.
    pub(super) is_over: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        Self { input, reasons: Reasons::of(input.wrapped), is_over: false }
    }

    /// The wrapped keys that `parse` accepts, with their positions. The reasons for the others are
    /// recorded.
    pub(super) fn parse<M, E: Into<Reason>>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<M, E>,
    ) -> Vec<(usize, M)> {
        let mut messages = Vec::new();
        for (item, bytes) in &self.input.wrapped.items {
            match parse(bytes) {
                Ok(message) => messages.push((*item, message)),
                Err(error) => self.reasons.add(*item, error),
            }
        }
        messages
    }

    /// Ends the search at `item`.
    pub(super) fn end(&mut self, item: usize, reason: impl Into<Reason>) {
        self.reasons.add(item, reason);
        self.is_over = true;
    }

    /// The failure of a search with the private keys of the ring.
    pub(super) fn failure(self, tried: usize, keys: TriedKeys) -> SchemeFailure {
        let of = self.input.ring.candidates();
        if of == 0 && !self.is_over {
            return SchemeFailure::new(self.input.wrapped, Outcome::NoKeys);
        }
        SchemeFailure::new(self.input.wrapped, Outcome::tried(self.reasons, tried, of, keys))
    }
}
