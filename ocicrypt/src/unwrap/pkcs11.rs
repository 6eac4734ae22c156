//! Keys that are wrapped for a PKCS#11 token.

use super::OpenedBy;
use super::failure::{Outcome, SchemeFailure, TriedKeys};
use super::reason::Reason;
use super::scheme::{Found, Input, Progress, SchemeSearch, Stage, Tools};
use crate::algorithms::Algorithm;
use crate::bounds::Bounds;
use crate::broker::{Broker, Refusal, TokenKey};
use crate::keyring::Listed;
use crate::pkcs11::{self, Blob};

/// The most operations that a token is asked for. Each may take a second.
const MAX_OPERATIONS: usize = 64;

/// All keys that are wrapped for tokens, and the results so far.
pub(super) struct Search<'a> {
    progress: Progress<'a>,
    operations: usize,
    /// The names of the keys in tokens.
    names: Vec<String>,
}

impl<'a> Search<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        Self { progress: Progress::new(input), operations: 0, names: Vec::new() }
    }

    /// Tries the keys of the operator first, then those of the payload.
    fn with(&mut self, bounds: &Bounds, broker: &mut dyn Broker) -> Option<Found> {
        let input = self.progress.input;
        let configured = broker.token_keys().into_iter().enumerate();
        let mut tokens: Vec<_> =
            configured.map(|(index, name)| (TokenKey::Configured(index), name)).collect();
        let given = input.parameters.pkcs11_keys().iter().enumerate();
        for (index, file) in given.filter(|(_, file)| !file.is_empty()) {
            tokens.push((TokenKey::Given(file), format!("pkcs11-yamls[{index}]")));
        }
        self.names = tokens.iter().map(|(_, name)| name.clone()).collect();
        if tokens.is_empty() {
            return None;
        }
        for (item, bytes) in &input.wrapped.items {
            let blobs = match pkcs11::parse(bytes) {
                Ok(blobs) => blobs,
                Err(error) => {
                    self.progress.reasons.add(*item, error);
                    continue;
                }
            };
            let attempts = blobs.iter().flat_map(|blob| tokens.iter().map(move |it| (blob, it)));
            for (blob, (token, name)) in attempts {
                let algorithms = algorithms(blob);
                if let Err(refused) = bounds.algorithms.check(&algorithms) {
                    self.progress.reasons.add(*item, refused);
                    continue;
                }
                if self.operations == MAX_OPERATIONS {
                    self.progress.reasons.add(*item, Reason::TooManyOperations(MAX_OPERATIONS));
                    break;
                }
                self.operations += 1;
                let opened = broker.token_decrypt(*token, blob.hash, &blob.bytes);
                let key = match opened {
                    Ok(opened) => self.progress.reasons.accept(*item, &opened, input.public),
                    Err(refusal) => {
                        self.progress.reasons.add(*item, reason(refusal, name));
                        None
                    }
                };
                if let Some(key) = key {
                    let by = OpenedBy { name: name.clone(), fingerprint: None };
                    return Some(Found { key, by, algorithms, is_authenticated: true });
                }
            }
        }
        None
    }
}

impl<'a, R: ?Sized> SchemeSearch<'a, R> for Search<'a> {
    fn attempt(&mut self, stage: Stage<'a>, tools: &mut Tools<'_, R>) -> Option<Found> {
        match stage {
            Stage::Broker => self.with(tools.bounds, tools.broker),
            _ => None,
        }
    }

    fn failure(self: Box<Self>) -> SchemeFailure {
        let Self { progress: Progress { input, reasons, .. }, operations, names } = *self;
        let count = names.len();
        let (tried, keys) = match (count, operations) {
            (0, _) => return SchemeFailure::new(input.wrapped, Outcome::NoKeys),
            (_, 0) => (0, TriedKeys::None { of: count, what: "key" }),
            _ => (count, TriedKeys::Listed(Listed::new(names, |name| format!("`{name}`")))),
        };
        SchemeFailure::new(input.wrapped, Outcome::tried(reasons, tried, count, keys))
    }
}

/// Why the token that holds the key with this name did not decrypt.
fn reason(refusal: Refusal, name: &str) -> Reason {
    match refusal {
        Refusal::Failed(reason) => Reason::Token { key: name.to_owned(), reason },
        Refusal::NotConfigured => Reason::NoModule(name.to_owned()),
    }
}

/// What a blob shows of its encryption: its length is that of the modulus.
fn algorithms(blob: &Blob) -> Vec<Algorithm> {
    let bits = u32::try_from(blob.bytes.len() * 8).unwrap_or(u32::MAX);
    vec![Algorithm::rsa(bits), Algorithm::oaep(blob.hash.into())]
}
