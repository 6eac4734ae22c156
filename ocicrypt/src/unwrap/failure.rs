//! Failures of wrapped keys that could not be opened.

use std::fmt;

use super::reason::{Reason, Reasons, Remedy};
use crate::format::annotation::{Scheme, WrappedKeys};
use crate::keyring::Listed;

/// The result for the wrapped keys of one scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeFailure {
    /// The scheme.
    pub scheme: Scheme,
    /// How many wrapped keys there are.
    pub wrapped: usize,
    /// What was tried.
    pub outcome: Outcome,
}

/// The result of a scheme.
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
        /// The keys that were tried. A key provider counts as one key.
        keys: TriedKeys,
        /// Why each wrapped key failed: the reason, and the positions in the list, counted from 1.
        reasons: Vec<(Reason, Vec<usize>)>,
        /// What would most likely help.
        remedy: Remedy,
        /// Whether something was not tried completely, so that the existing keys might still open it.
        undecided: bool,
    },
}

/// The keys that were tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriedKeys {
    /// None of the `of` keys, which are called `what`.
    None {
        /// How many keys there are.
        of: usize,
        /// What they are called, for example `key`.
        what: &'static str,
    },
    /// None, because no key could be opened.
    NoneOpened,
    /// These keys.
    Listed(Listed),
    /// The key provider.
    Provider,
    /// The same, with the number of certificates.
    WithCertificates(Box<TriedKeys>, usize),
}

impl TriedKeys {
    /// The keys of the ring that were tried, out of `of`.
    pub(super) fn of_ring(listed: Listed, of: usize) -> Self {
        match listed.len() {
            0 if of == 0 => Self::NoneOpened,
            0 => Self::None { of, what: "key" },
            _ => Self::Listed(listed),
        }
    }
}

impl fmt::Display for TriedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { of: 1, what } => write!(f, "the only {what} was not tried"),
            Self::None { of, what } => write!(f, "none of the {of} {what}s was tried"),
            Self::NoneOpened => f.write_str("no key could be opened"),
            Self::Listed(listed) => listed.fmt(f),
            Self::Provider => f.write_str("the key provider was asked"),
            Self::WithCertificates(keys, 0) => write!(f, "{keys}, without a certificate"),
            Self::WithCertificates(keys, 1) => write!(f, "{keys}, with 1 certificate"),
            Self::WithCertificates(keys, count) => write!(f, "{keys}, with {count} certificates"),
        }
    }
}

impl Outcome {
    /// The outcome if `tried` of `of` keys were tried, and failed for these reasons.
    pub(super) fn tried(reasons: Reasons, tried: usize, of: usize, keys: TriedKeys) -> Self {
        let Reasons { remedy, undecided, reasons, .. } = reasons;
        Self::Tried { tried, of, keys, reasons, remedy, undecided }
    }
}

impl SchemeFailure {
    /// Whether the existing keys might still open one of the wrapped keys, because a bound was reached,
    /// or because a key provider or token failed.
    pub fn is_undecided(&self) -> bool {
        matches!(self.outcome, Outcome::Tried { undecided: true, .. })
    }

    pub(super) fn new(keys: &WrappedKeys, outcome: Outcome) -> Self {
        Self { scheme: keys.scheme.clone(), wrapped: keys.len(), outcome }
    }
}

/// The most reasons, and the most positions for one reason, in a message.
const LISTED: usize = 5;

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
                write!(f, "{keys}")?;
                for (reason, items) in reasons.iter().take(LISTED) {
                    let shown: Vec<_> = items.iter().take(LISTED).map(usize::to_string).collect();
                    let plural = if items.len() == 1 { "" } else { "s" };
                    write!(f, "; item{plural} {}", shown.join(", "))?;
                    if items.len() > LISTED {
                        write!(f, " and {} more", items.len() - LISTED)?;
                    }
                    write!(f, ": {reason}")?;
                }
                if reasons.len() > LISTED {
                    write!(f, "; and {} more reasons", reasons.len() - LISTED)?;
                }
                Ok(())
            }
        }
    }
}

pub(super) struct Joined<'a>(pub(super) &'a [SchemeFailure]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().take(LISTED).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        if self.0.len() > LISTED {
            write!(f, "; and {} more schemes", self.0.len() - LISTED)?;
        }
        Ok(())
    }
}
