//! What the search for the key of a layer has in common, whatever the scheme.

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

/// The wrapped keys of one scheme, and what came of them so far.
pub(super) trait SchemeSearch<'a, R: ?Sized> {
    /// Tries what the stage allows. None if nothing was opened, or the stage is none of the scheme's.
    fn attempt(&mut self, stage: Stage<'a>, tools: &mut Tools<'_, R>) -> Option<Found>;

    /// Whether another private key could help.
    fn takes_keys(&self) -> bool {
        false
    }

    /// The budget does not suffice to open the next private key.
    fn give_up(&mut self) {}

    /// What was tried, when nothing was opened.
    fn failure(self: Box<Self>) -> SchemeFailure;
}

/// The stages of the search, in their order. All schemes pass one before the next begins.
#[derive(Clone, Copy)]
pub(super) enum Stage<'a> {
    /// The private keys that are open.
    OpenKeys,
    /// The OpenPGP keys that are locked: each is unlocked when a message names it.
    LockedPgpKeys,
    /// A private key that has just been opened.
    NextKey(&'a NamedKey),
    /// The keys that the broker reaches.
    Broker,
    /// Wrapped keys that nothing authenticates.
    Unauthenticated,
}

/// What the search works with.
pub(super) struct Tools<'t, R: ?Sized> {
    pub(super) bounds: &'t mut Bounds,
    pub(super) broker: &'t mut dyn Broker,
    pub(super) rng: &'t mut R,
}

/// What a search looks at.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) wrapped: &'a WrappedKeys,
    pub(super) public: &'a PublicOptions,
    pub(super) ring: &'a KeyRing,
    pub(super) parameters: &'a Parameters,
}

/// What a search found.
pub(super) struct Found {
    pub(super) key: LayerKey,
    pub(super) by: OpenedBy,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) is_authenticated: bool,
}

/// How far a search has come.
pub(super) struct Progress<'a> {
    pub(super) input: Input<'a>,
    pub(super) reasons: Reasons,
    /// Nothing more is tried: a bound was reached.
    pub(super) is_over: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        Self { input, reasons: Reasons::of(input.wrapped), is_over: false }
    }

    /// The wrapped keys that `parse` reads, with their positions; why it does not read the others is
    /// noted.
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

    /// What came of a search with the private keys of the ring.
    pub(super) fn failure(self, tried: usize, keys: TriedKeys) -> SchemeFailure {
        let of = self.input.ring.candidates();
        if of == 0 && !self.is_over {
            return SchemeFailure::new(self.input.wrapped, Outcome::NoKeys);
        }
        SchemeFailure::new(self.input.wrapped, Outcome::tried(self.reasons, tried, of, keys))
    }
}
