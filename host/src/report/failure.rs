//! How a run ends without a layer.

use keycell_core::contract;
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::{DecoderHint, Hint, UnwrapHint};

/// Why there is no layer.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong, and how to fix it.
    pub diagnostic: Diagnostic,
    /// The digest of the encrypted layer, if it is known.
    pub layer_digest: Option<String>,
    /// The digests of the manifests that are the cause, grouped by layer key.
    pub manifests: Vec<Vec<String>>,
}

/// How a run ends without a layer.
#[derive(Debug)]
pub enum Ending {
    /// It failed for a reason that is reported.
    Failed(Box<Failure>),
    /// Nobody reads standard output any more, so nobody needs a message. Go ctd-decoder dies of
    /// `SIGPIPE`, also without a message.
    ReaderGone,
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, layer_digest: None, manifests: Vec::new() }
    }
}

/// A failure that the guest reports in its own words.
impl From<contract::Failure> for Failure {
    fn from(failure: contract::Failure) -> Self {
        let hints = failure.hints.into_iter().map(of_guest);
        let diagnostic = Diagnostic { message: failure.message, hints: hints.collect() };
        Self { layer_digest: failure.layer_digest, ..diagnostic.into() }
    }
}

/// A hint of a guest. The host recognises the hint about missing keys, because it adds to it.
pub fn of_guest(hint: String) -> Hint {
    if hint == UnwrapHint::NoKeyConfigured.to_string() {
        return UnwrapHint::NoKeyConfigured.into();
    }
    DecoderHint::OfGuest(hint).into()
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<Diagnostic> for Ending {
    fn from(diagnostic: Diagnostic) -> Self {
        Failure::from(diagnostic).into()
    }
}

/// Converts an error, whose `hint` describes the solution, into a diagnostic and into the ending of a
/// run.
macro_rules! ends_a_run {
    ($error:ty) => {
        impl From<$error> for keycell_diagnostic::Diagnostic {
            fn from(error: $error) -> Self {
                Self::new(error.to_string(), error.hint())
            }
        }

        impl From<$error> for $crate::report::failure::Ending {
            fn from(error: $error) -> Self {
                keycell_diagnostic::Diagnostic::from(error).into()
            }
        }
    };
}

pub(crate) use ends_a_run;
