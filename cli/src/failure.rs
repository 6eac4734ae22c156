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

impl From<Failure> for Advice {
    fn from(failure: Failure) -> Self {
        Self { message: failure.message, hints: failure.hints }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advice {}
