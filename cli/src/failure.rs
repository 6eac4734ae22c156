//! An error with ways out of it.

use std::fmt;

use keycell_guest::failure::Failure;

/// What is wrong, and what would mend it: a line each.
#[derive(Debug)]
pub struct Advice {
    message: String,
    /// What would mend it.
    pub hints: Vec<String>,
}

impl Advice {
    /// With one hint.
    pub fn new(message: impl Into<String>, hint: &str) -> Self {
        Self::with_hints(message, vec![hint.to_owned()])
    }

    /// With any number of hints.
    pub fn with_hints(message: impl Into<String>, hints: Vec<String>) -> Self {
        Self { message: message.into(), hints }
    }
}

/// The guest speaks of `ctd-decoder`.
impl From<Failure> for Advice {
    fn from(failure: Failure) -> Self {
        let ours = |hint: String| {
            hint.replace("`--decryption-keys-path`", "`--keys`")
                .replace("for the user that containerd runs as", "for you")
        };
        Self { message: failure.message, hints: failure.hints.into_iter().map(ours).collect() }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advice {}
