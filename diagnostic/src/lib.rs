//! What Keycell's programs say to a person: an error, and hints that mend it.
//!
//! Errors are enums in every crate. They become text here, at the edge, once: the programs and the
//! guest make a [`Diagnostic`] from them. A [`Hint`] names the *cause* that it mends.

#![forbid(unsafe_code)]

pub mod hint;

pub use hint::Hint;

/// One failure, as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong: lower case, no full stop, values in backticks, never a secret.
    pub message: String,
    /// What mends it, the likeliest first.
    pub hints: Vec<Hint>,
}

impl Diagnostic {
    /// A failure with one hint.
    pub fn new(message: impl Into<String>, hint: impl Into<Hint>) -> Self {
        Self { message: message.into(), hints: vec![hint.into()] }
    }
}
