//! Wrapped keys in OpenPGP messages.

use rsa::rand_core::TryCryptoRng;

use super::failure::{Outcome, SchemeFailure, TriedKeys};
use super::scheme::{Found, Input, Progress, SchemeSearch, Stage, Tools};
use crate::budget::cost;
use crate::keyring::NamedPgpKey;
use crate::pgp::{self, Locked, PgpError, PgpMessage};

/// All messages of a layer, and the results so far. A key is unlocked when a message names it.
pub(super) struct Search<'a> {
    count: usize,
    search: pgp::Search<'a>,
    progress: Progress<'a>,
}

impl<'a> Search<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        let search = pgp::Search::new(input.ring.pgp_keys().map(NamedPgpKey::key));
        let count = input.ring.pgp_keys().count();
        Self { count, search, progress: Progress::new(input) }
    }

    /// Tries the locked keys, or those that are not locked.
    fn with<R: TryCryptoRng + ?Sized>(
        &mut self,
        which: Locked,
        tools: &mut Tools<'_, R>,
    ) -> Option<Found> {
        if self.count == 0 || self.progress.is_over {
            return None;
        }
        self.search.only(which);
        let input = self.progress.input;
        for (item, bytes) in &input.wrapped.items {
            let message = PgpMessage::parse(bytes).map_err(|error| vec![error]);
            let opened = message.and_then(|message| {
                let opened = message.decrypt(&mut self.search, tools.bounds, tools.rng)?;
                let paid = tools.bounds.budget.spend_on_bytes(opened.content.len(), cost::READ);
                paid.map(|()| opened).map_err(|error| vec![error.into()])
            });
            match opened {
                Ok(opened) => {
                    let key = self.progress.reasons.accept(*item, &opened.content, input.public);
                    // A message is opened only with a key that was tried.
                    let by = self.search.last_tried().and_then(|key| input.ring.named_pgp(key));
                    if let (Some(key), Some(by)) = (key, by) {
                        let (by, algorithms) = (by.into(), opened.algorithms);
                        return Some(Found { key, by, algorithms, is_authenticated: true });
                    }
                }
                Err(errors) => {
                    self.progress.is_over = errors.contains(&PgpError::TooMuchWork);
                    errors.into_iter().for_each(|error| self.progress.reasons.add(*item, error));
                    if self.progress.is_over {
                        break;
                    }
                }
            }
        }
        None
    }
}

impl<'a, R: TryCryptoRng + ?Sized> SchemeSearch<'a, R> for Search<'a> {
    fn attempt(&mut self, stage: Stage<'a>, tools: &mut Tools<'_, R>) -> Option<Found> {
        match stage {
            Stage::OpenKeys => self.with(Locked::No, tools),
            Stage::LockedPgpKeys => self.with(Locked::Yes, tools),
            _ => None,
        }
    }

    fn failure(self: Box<Self>) -> SchemeFailure {
        let Self { count, search, progress: Progress { input, reasons, .. } } = *self;
        if count == 0 {
            return SchemeFailure::new(input.wrapped, Outcome::NoKeys);
        }
        let tried = search.tried().count();
        let keys = match tried {
            0 => TriedKeys::None { of: count, what: "OpenPGP key" },
            _ => TriedKeys::Listed(input.ring.list_pgp(search.tried())),
        };
        SchemeFailure::new(input.wrapped, Outcome::tried(reasons, tried, count, keys))
    }
}
