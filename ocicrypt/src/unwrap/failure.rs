//! What came of wrapped keys that could not be opened, in words.

use std::collections::BTreeMap;
use std::fmt;

use crate::annotation::{Scheme, WrappedKeys};
use crate::layer::LayerKey;
use crate::options::{PublicOptions, layer_key_of};

/// What came of the wrapped keys of one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeFailure {
    /// The scheme.
    pub scheme: Scheme,
    /// How many wrapped keys there are.
    pub wrapped: usize,
    /// What was tried.
    pub outcome: Outcome,
}

/// How far a scheme came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The operator has not configured the key provider.
    NotConfigured,
    /// There is no private key for the scheme.
    NoKeys,
    /// Keys were tried, unless none was of the right kind.
    Tried {
        /// How many keys were tried.
        tried: usize,
        /// How many keys there are.
        of: usize,
        /// Which, in words: see [`crate::keyring::describe`]. A key provider counts as one key.
        keys: String,
        /// Why each wrapped key failed: the reason, and the positions in the list, from 1.
        reasons: Vec<(String, Vec<usize>)>,
        /// What would most likely help.
        remedy: Remedy,
        /// Something was not tried to its end, so the keys that are there might open it after all.
        undecided: bool,
    },
}

/// What would help. Of several the last one of this list is the most likely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remedy {
    /// An image that is not damaged. No key would help.
    #[default]
    Image,
    /// An image that is encrypted in another way: this one is not known, or refused.
    Encryption,
    /// To look after the key provider, or the token.
    Elsewhere,
    /// Another key, unless the image is damaged: the two cannot be told apart.
    KeyOrImage,
    /// Another key.
    Key,
    /// A PKCS#11 module that the operator allows.
    Module,
    /// The password of a key.
    Password,
    /// An image whose algorithms are accepted, or to accept these.
    Algorithms,
    /// Fewer keys or fewer recipients: not all could be tried.
    Fewer,
}

impl SchemeFailure {
    /// Whether the keys that are there might open one of the wrapped keys after all: a bound was
    /// reached, or a key provider or token failed.
    pub fn is_undecided(&self) -> bool {
        matches!(self.outcome, Outcome::Tried { undecided: true, .. })
    }

    pub(super) fn new(keys: &WrappedKeys, outcome: Outcome) -> Self {
        Self { scheme: keys.scheme.clone(), wrapped: keys.len(), outcome }
    }
}

/// Reasons, and positions for one reason, that a message tells at most.
const TOLD: usize = 5;

impl fmt::Display for SchemeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.wrapped == 1 { "" } else { "s" };
        write!(f, "{}: {} wrapped key{plural}, ", self.scheme, self.wrapped)?;
        match &self.outcome {
            Outcome::NotConfigured => f.write_str("but no such key provider is configured"),
            Outcome::NoKeys => match self.scheme {
                Scheme::Pgp => f.write_str("but there is no OpenPGP key"),
                Scheme::Pkcs11 => f.write_str("but there is no PKCS#11 key that may be used"),
                _ => f.write_str("but there is no private key"),
            },
            Outcome::Tried { keys, reasons, .. } => {
                f.write_str(keys)?;
                for (reason, items) in reasons.iter().take(TOLD) {
                    let shown: Vec<_> = items.iter().take(TOLD).map(usize::to_string).collect();
                    let plural = if items.len() == 1 { "" } else { "s" };
                    write!(f, "; item{plural} {}", shown.join(", "))?;
                    if items.len() > TOLD {
                        write!(f, " and {} more", items.len() - TOLD)?;
                    }
                    write!(f, ": {reason}")?;
                }
                if reasons.len() > TOLD {
                    write!(f, "; and {} more reasons", reasons.len() - TOLD)?;
                }
                Ok(())
            }
        }
    }
}

pub(super) struct Joined<'a>(pub(super) &'a [SchemeFailure]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().take(TOLD).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        if self.0.len() > TOLD {
            write!(f, "; and {} more schemes", self.0.len() - TOLD)?;
        }
        Ok(())
    }
}

/// That keys were there, and none of them was tried.
pub(super) fn none_tried(of: usize, what: &str) -> String {
    match of {
        1 => format!("the only {what} was not tried"),
        _ => format!("none of the {of} {what}s was tried"),
    }
}

/// The reasons of a scheme, each with the items that failed for it.
#[derive(Default)]
pub(super) struct Reasons {
    places: BTreeMap<String, usize>,
    remedy: Remedy,
    undecided: bool,
    reasons: Vec<(String, Vec<usize>)>,
}

impl Reasons {
    /// Those that are known before any key is tried.
    pub(super) fn of(keys: &WrappedKeys) -> Self {
        let mut reasons = Self::default();
        for item in &keys.not_base64 {
            reasons.add(*item, "malformed: not base64".to_owned());
        }
        reasons
    }

    /// The key of the layer from what `item` held, or the reason why there is none.
    pub(super) fn accept(
        &mut self,
        item: usize,
        opened: &[u8],
        public: &PublicOptions,
    ) -> Option<LayerKey> {
        let key = layer_key_of(opened, public);
        key.map_err(|error| self.add(item, format!("it was opened, but {error}"))).ok()
    }

    pub(super) fn tried(self, tried: usize, of: usize, keys: String) -> Outcome {
        let Self { remedy, undecided, reasons, .. } = self;
        Outcome::Tried { tried, of, keys, reasons, remedy, undecided }
    }

    /// Something was not tried to its end: see [`SchemeFailure::is_undecided`].
    pub(super) fn leave_undecided(&mut self) {
        self.undecided = true;
    }

    /// A reason for which no other key helps.
    pub(super) fn add(&mut self, item: usize, reason: String) {
        self.mended_by(Remedy::Image, item, reason);
    }

    /// A reason, and what would help.
    pub(super) fn mended_by(&mut self, remedy: Remedy, item: usize, reason: String) {
        self.remedy = self.remedy.max(remedy);
        // The keys that are there may be the right ones.
        self.undecided |= matches!(remedy, Remedy::Algorithms | Remedy::Fewer);
        let next = self.reasons.len();
        let place = *self.places.entry(reason).or_insert_with_key(|reason| {
            self.reasons.push((reason.clone(), Vec::new()));
            next
        });
        let items = &mut self.reasons[place].1;
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
}
