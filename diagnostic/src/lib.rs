//! What Keycell's programs say to a person: an error, and hints that mend it.
//!
//! Errors are enums in every crate. They become text here, at the edge, once: the programs and the
//! guest make a [`Diagnostic`] from them. A [`Hint`] names the *cause* that it mends.

#![forbid(unsafe_code)]

use std::error::Error;
use std::{fmt, io};

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

impl fmt::Display for Diagnostic {
    /// The message alone: hints stand on lines of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Diagnostic {}

/// An operating system's error in the middle of a sentence: in lower case, without its number.
pub fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    // The standard library ends the text of each of the system's errors with its number.
    let number = error.raw_os_error().map(|number| format!(" (os error {number})"));
    let mut text =
        number.and_then(|number| text.strip_suffix(&number).map(str::to_owned)).unwrap_or(text);
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_has_no_number_and_no_capital() {
        assert_eq!(os_error(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }

    #[test]
    fn another_error_keeps_its_text() {
        assert_eq!(os_error(&io::Error::other("not (os error 2) here")), "not (os error 2) here");
        assert_eq!(os_error(&io::ErrorKind::WouldBlock.into()), "operation would block");
    }
}
