//! How failures are put into words.

use crate::contract::Failure;

/// A failure and a way out of it: there is always one, if only where to look next.
pub fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure {
        message: message.into(),
        hints: vec![hint.into()],
        layer_digest: None,
        refusals: Vec::new(),
        manifests: Vec::new(),
    }
}

pub use keycell_diagnostic::os_error as plain;
