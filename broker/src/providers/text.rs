//! Sanitizes texts of providers and of the operator for messages.

use std::error::Error;
use std::io;
use std::time::Duration;

use keycell_diagnostic::os_error;
use ocicrypt::text::{is_invisible, printable_to, redacted};

/// How many characters of a provider's text are shown, from its beginning and also from its end: the
/// last line of a script, and the first line of a Go program, describe the error.
const SHOWN: usize = 300;

/// How many characters of a path or an address are shown.
const NAME: usize = 256;

/// An excerpt of a provider's standard error: its beginning and its end.
#[derive(Default)]
pub(super) struct StderrExcerpt {
    head: Vec<u8>,
    tail: Vec<u8>,
    left_out: bool,
}

impl StderrExcerpt {
    const KEPT: usize = 2048;

    /// Adds the next bytes, and drops those in the middle.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(Self::KEPT - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        let excess = self.tail.len().saturating_sub(Self::KEPT);
        self.left_out |= excess > 0;
        self.tail.drain(..excess);
    }

    /// The excerpt as one line, or nothing.
    pub(super) fn shown(&self) -> Option<String> {
        // The separator prevents bytes on both sides of the gap from forming a character.
        let gap: &[u8] = if self.left_out { b" ... " } else { b"" };
        let line = sanitized(&String::from_utf8_lossy(&[&*self.head, gap, &self.tail].concat()));
        (!line.is_empty()).then_some(line)
    }
}

/// Sanitizes a provider's text into one line: without control characters, invisible characters,
/// characters that change the direction of text, and runs that look like key material. It also limits
/// the length.
pub(super) fn sanitized(text: &str) -> String {
    let spaced: String = text
        .chars()
        .filter(|c| !is_invisible(*c))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<_> = spaced.split_whitespace().map(redacted).collect();
    let line = words.join(" ").replace('`', "'");
    let characters = line.chars().count();
    if characters <= 2 * SHOWN {
        return line;
    }
    let head: String = line.chars().take(SHOWN).collect();
    let tail: String = line.chars().skip(characters - SHOWN).collect();
    format!("{} … {}", head.trim_end(), tail.trim_start())
}

/// Sanitizes a path or an address of the operator.
pub(super) fn name(name: &str) -> String {
    printable_to(name, NAME)
}

/// The text of an error of the system, or of a library that does input and output.
pub(super) fn io_error(error: &io::Error) -> String {
    sanitized(&os_error(error))
}

/// The text of the root cause of an error.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    match root.downcast_ref::<io::Error>() {
        // In this case, rustls's own text is only a web address.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed".to_owned()
        }
        Some(error) => io_error(error),
        None => sanitized(&root.to_string()),
    }
}

/// Formats a time limit.
pub(super) fn seconds(limit: Duration) -> String {
    match limit.as_secs_f64() {
        1.0 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_dropped() {
        assert_eq!(sanitized("a\u{1b}[2Jb\r\n\t`c`\u{202e}d\u{200b}"), "a [2Jb 'c'd");
    }

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut heard = StderrExcerpt::default();
        for part in ["first ", &"x".repeat(5000), " last"] {
            heard.push(part.as_bytes());
        }
        let line = heard.shown().unwrap();
        assert!(line.starts_with("first xx") && line.ends_with("xx last"), "{line}");
        assert!(line.chars().count() <= 2 * SHOWN + 3);
        assert_eq!(StderrExcerpt::default().shown(), None);
    }

    #[test]
    fn what_looks_like_a_key_is_taken_out() {
        let key = "c3ltbWV0cmljIGtleSBvZiAzMiBieXRlcyBmb3IgYSB0ZXN0";
        assert_eq!(sanitized(&format!("optsdata={key}")), "…");
        assert_eq!(sanitized(&format!("key: \"{key}\"")), "key: \"…\"");
        assert_eq!(sanitized(&"0f".repeat(32)), "…");
        let path = "/usr/lib/x86_64-linux-gnu/Keyprovider/bin/wrap-and-unwrap-key";
        assert_eq!(sanitized(path), path);
    }
}
