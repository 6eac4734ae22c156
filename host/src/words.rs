//! How failures are put into words.

use std::io;

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

/// The system's words without its number, in the middle of a sentence.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let mut words = text.split(" (os error").next().unwrap_or(&text).to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    words
}
