//! Keys that were wrapped by a key provider.

use rsa::rand_core::TryCryptoRng;

use super::OpenedBy;
use super::failure::{Outcome, SchemeFailure, TriedKeys};
use super::jwe;
use super::reason::Reason;
use super::scheme::{Found, Input, Progress, SchemeSearch, Stage, Tools};
use crate::broker::{Broker, Refusal};
use crate::encoding::text::printable;

/// The most wrapped keys for which one provider is asked. Each may start a program.
const MAX_OPERATIONS: usize = 16;

/// The name of `keycell keyprovider` in annotations. What it wraps is a JWE, which the node's own keys
/// open without the provider.
const KEYCELL: &str = "keycell";

/// All keys that one provider wrapped, and the results so far.
pub(super) struct Search<'a> {
    progress: Progress<'a>,
    name: &'a str,
    is_configured: bool,
    /// The same wrapped keys as JWEs, if that is what the provider writes.
    own: Option<Box<jwe::Search<'a>>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(input: Input<'a>, name: &'a str) -> Self {
        let own = (name == KEYCELL).then(|| Box::new(jwe::Search::new(input)));
        Self { progress: Progress::new(input), name, is_configured: true, own }
    }

    /// Go ctd-decoder sends every parameter of the payload to every provider, including private keys
    /// and passwords; Keycell sends only those under the provider's own name.
    fn with(&mut self, broker: &mut dyn Broker) -> Option<Found> {
        let (name, input) = (self.name, self.progress.input);
        let reasons = &mut self.progress.reasons;
        let parameters = input.parameters.provider(name);
        for (item, bytes) in input.wrapped.items.iter().take(MAX_OPERATIONS) {
            match broker.provider_unwrap(name, bytes, parameters) {
                Ok(opened) => {
                    if let Some(key) = reasons.accept(*item, &opened, input.public) {
                        let by = OpenedBy { name: printable(name), fingerprint: None };
                        let algorithms = Vec::new();
                        return Some(Found { key, by, algorithms, is_authenticated: true });
                    }
                }
                Err(Refusal::Failed(why)) => reasons.add(*item, Reason::Provider(why)),
                Err(Refusal::NotConfigured) => {
                    self.is_configured = false;
                    return None;
                }
            }
        }
        for (item, _) in input.wrapped.items.iter().skip(MAX_OPERATIONS) {
            reasons.add(*item, Reason::NotTried(MAX_OPERATIONS));
        }
        None
    }
}

impl<'a, R: TryCryptoRng + ?Sized> SchemeSearch<'a, R> for Search<'a> {
    fn attempt(&mut self, stage: Stage<'a>, tools: &mut Tools<'_, R>) -> Option<Found> {
        match stage {
            Stage::Broker => self.with(tools.broker),
            _ => self.own.as_mut()?.attempt(stage, tools),
        }
    }

    fn takes_keys(&self) -> bool {
        self.own.as_ref().is_some_and(|own| SchemeSearch::<R>::takes_keys(&**own))
    }

    fn give_up(&mut self) {
        if let Some(own) = &mut self.own {
            SchemeSearch::<R>::give_up(&mut **own);
        }
    }

    fn failure(self: Box<Self>) -> SchemeFailure {
        // A provider that is configured is the one that the operator means.
        if let (Some(own), false) = (self.own, self.is_configured) {
            return SchemeSearch::<R>::failure(own);
        }
        let Progress { input, reasons, .. } = self.progress;
        let outcome = match self.is_configured {
            true => Outcome::tried(reasons, 1, 1, TriedKeys::Provider),
            false => Outcome::NotConfigured,
        };
        SchemeFailure::new(input.wrapped, outcome)
    }
}
