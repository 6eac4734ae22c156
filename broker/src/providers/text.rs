//! What providers say, and what the operator wrote, made fit for a message.

use std::error::Error;
use std::io;
use std::time::Duration;

use keycell_diagnostic::os_error;
use ocicrypt::text::{is_invisible, printable_to, redacted};

/// Characters shown of what a provider says, from its beginning and as many from its end: a
/// script's last line tells what went wrong, and a Go program's first.
const SHOWN: usize = 300;

/// Characters shown of a path or an address.
const NAME: usize = 256;

/// Bytes kept of what a provider says: its beginning and its end.
#[derive(Default)]
pub(super) struct Said {
    head: Vec<u8>,
    tail: Vec<u8>,
    left_out: bool,
}

impl Said {
    const KEPT: usize = 2048;

    /// Adds the next bytes, and forgets those in the middle.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(Self::KEPT - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        let excess = self.tail.len().saturating_sub(Self::KEPT);
        self.left_out |= excess > 0;
        self.tail.drain(..excess);
    }

    /// One line, or nothing.
    pub(super) fn shown(&self) -> Option<String> {
        // Separated, so that no character comes into being where bytes are left out.
        let gap: &[u8] = if self.left_out { b" ... " } else { b"" };
        let line = said(&String::from_utf8_lossy(&[&*self.head, gap, &self.tail].concat()));
        (!line.is_empty()).then_some(line)
    }
}

/// One line of what a provider says: no control characters, nothing that cannot be seen or turns
/// text around, no run that looks like key material, and not too much.
pub(super) fn said(text: &str) -> String {
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

/// A path or an address of the operator's.
pub(super) fn name(name: &str) -> String {
    printable_to(name, NAME)
}

/// An error of the system or of a library that reads or writes.
pub(super) fn io_error(error: &io::Error) -> String {
    said(&os_error(error))
}

/// What is at the bottom of an error of many layers.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    match root.downcast_ref::<io::Error>() {
        // What rustls says of it is an address on the web.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed".to_owned()
        }
        Some(error) => io_error(error),
        None => said(&root.to_string()),
    }
}

/// A time limit in words.
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
        assert_eq!(said("a\u{1b}[2Jb\r\n\t`c`\u{202e}d\u{200b}"), "a [2Jb 'c'd");
    }

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut heard = Said::default();
        for part in ["first ", &"x".repeat(5000), " last"] {
            heard.push(part.as_bytes());
        }
        let line = heard.shown().unwrap();
        assert!(line.starts_with("first xx") && line.ends_with("xx last"), "{line}");
        assert!(line.chars().count() <= 2 * SHOWN + 3);
        assert_eq!(Said::default().shown(), None);
    }

    #[test]
    fn what_looks_like_a_key_is_taken_out() {
        let key = "c3ltbWV0cmljIGtleSBvZiAzMiBieXRlcyBmb3IgYSB0ZXN0";
        assert_eq!(said(&format!("optsdata={key}")), "…");
        assert_eq!(said(&format!("key: \"{key}\"")), "key: \"…\"");
        assert_eq!(said(&"0f".repeat(32)), "…");
        let path = "/usr/lib/x86_64-linux-gnu/Keyprovider/bin/wrap-and-unwrap-key";
        assert_eq!(said(path), path);
    }
}
