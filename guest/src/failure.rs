//! Why a step failed, as a diagnostic for the operator.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::UnwrapHint;
use ocicrypt::annotation::Scheme;
use ocicrypt::keyring::{KeyRing, Skipped};
use ocicrypt::layer::LayerError;
use ocicrypt::payload::PayloadError;
use ocicrypt::unwrap::{Outcome, Remedy, SchemeFailure, UnwrapError};

/// A diagnostic, and the layer and the manifests that it is about.
pub struct Failure {
    /// What is wrong, and hints.
    pub diagnostic: Diagnostic,
    /// The digest of the layer, as the payload has it, once that is known.
    pub layer: Option<String>,
    /// The stored manifests that it is about: their indices in the request.
    pub manifests: Vec<u32>,
}

impl Failure {
    /// A failure with one hint.
    pub fn new(message: impl Into<String>, hint: UnwrapHint) -> Self {
        Diagnostic::new(message, hint).into()
    }

    /// A failure without a hint.
    pub fn without_hint(message: impl Into<String>) -> Self {
        Diagnostic { message: message.into(), hints: Vec::new() }.into()
    }

    /// No key opens the layer. The message names what was tried, and the files that are no keys.
    pub fn no_key(error: &UnwrapError, ring: &KeyRing) -> Self {
        let failures = match error {
            UnwrapError::NoKeyOpened { failures } => failures,
            UnwrapError::MediaType(found) => {
                let hint = match found.is_encrypted {
                    true => UnwrapHint::NotUnpacked,
                    false => UnwrapHint::OtherMediaType,
                };
                return Self::new(error.to_string(), hint);
            }
            UnwrapError::NotEncrypted => {
                return Self::new(error.to_string(), UnwrapHint::AnnotationsDropped);
            }
            _ => return Self::new(error.to_string(), UnwrapHint::Damaged),
        };
        let mut message = error.to_string();
        let skipped = ring.skipped_so_far();
        if !skipped.is_empty() {
            message += &format!("; passed over: {}", passed_over(&skipped));
        }
        if failures.iter().any(|failure| failure.outcome == Outcome::NoKeys) {
            message += &found_instead(ring);
        }
        let mut hints = Vec::new();
        for hint in failures.iter().flat_map(|failure| hints_for(failure, ring)) {
            let hint = hint.clone().into();
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        Diagnostic { message, hints }.into()
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, layer: None, manifests: Vec::new() }
    }
}

/// The most files that are no keys which a message names.
const NAMED: usize = 5;

/// The files that were passed over, for a message: one of them may be the key that is missing.
fn passed_over(skipped: &[Skipped]) -> String {
    let mut named: Vec<_> = skipped.iter().take(NAMED).map(Skipped::to_string).collect();
    if skipped.len() > NAMED {
        named.push(format!("and {} more", skipped.len() - NAMED));
    }
    named.join("; ")
}

/// What the keys directory holds instead of the key that is missing.
fn found_instead(ring: &KeyRing) -> String {
    let found = [
        (ring.candidates(), "private key"),
        (ring.pgp_keys().count(), "OpenPGP key"),
        (ring.certificates().len(), "certificate"),
    ];
    let found = found.into_iter().filter(|(count, _)| *count > 0);
    let found = found.map(|(count, what)| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    });
    match found.collect::<Vec<_>>() {
        none if none.is_empty() && ring.skipped_so_far().is_empty() => {
            ", and no file that could be one".to_owned()
        }
        none if none.is_empty() => String::new(),
        found => format!("; found instead: {}", found.join(", ")),
    }
}

/// The hints for the wrapped keys of one scheme.
fn hints_for(failure: &SchemeFailure, ring: &KeyRing) -> &'static [UnwrapHint] {
    let is_pgp = failure.scheme == Scheme::Pgp;
    let remedy = match &failure.outcome {
        Outcome::NotConfigured => return &[UnwrapHint::NoProviderConfigured],
        Outcome::NoKeys if failure.scheme == Scheme::Pkcs11 => {
            return &[UnwrapHint::NoTokenConfigured];
        }
        Outcome::NoKeys if ring.candidates() == 0 && ring.pgp_keys().next().is_none() => {
            return &[UnwrapHint::NoKeyConfigured];
        }
        Outcome::Tried { remedy, .. } => *remedy,
        _ => Remedy::Key,
    };
    match remedy {
        Remedy::Encryption => &[UnwrapHint::UnsupportedEncryption],
        Remedy::Elsewhere => &[UnwrapHint::ProviderOrTokenFailed],
        Remedy::Module => &[UnwrapHint::NoTokenConfigured],
        Remedy::Password => &[UnwrapHint::KeyLocked],
        Remedy::Algorithms => &[UnwrapHint::LegacyAlgorithms, UnwrapHint::LegacyRefused],
        Remedy::Fewer => &[UnwrapHint::TooManyKeys, UnwrapHint::TooManyRecipients],
        Remedy::Key if is_pgp => &[UnwrapHint::OpenPgpKeyOfAnother],
        Remedy::Key => &[UnwrapHint::KeyOfAnother],
        Remedy::KeyOrImage if is_pgp => {
            &[UnwrapHint::OpenPgpKeyOfAnother, UnwrapHint::PerhapsDamaged]
        }
        Remedy::KeyOrImage => &[UnwrapHint::KeyOfAnother, UnwrapHint::PerhapsDamaged],
        _ => &[UnwrapHint::Damaged],
    }
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Empty => Self::new(error.to_string(), UnwrapHint::PayloadEmpty),
            _ => Self::new(error.to_string(), UnwrapHint::PayloadForeign),
        }
    }
}

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        let hint = match error {
            LayerError::DigestMismatch => UnwrapHint::SealedDigestOfAnother,
            LayerError::CutOff { .. } => UnwrapHint::LayerCutOff,
            _ => UnwrapHint::LayerAltered,
        };
        Self::new(error.to_string(), hint)
    }
}
