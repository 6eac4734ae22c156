//! The one place that speaks to containerd: on standard error.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use ocicrypt::text::{is_invisible, redacted, without_pem};

use crate::contract::Failure;
use crate::event::Verdict;
use crate::linger;
use crate::log::Log;

/// The longest message, in bytes: containerd carries it through every layer of its errors.
const MAX_MESSAGE: usize = 4096;

/// The longest error without its hints, in bytes: they must not be what is cut off.
const MAX_ERROR: usize = 3072;

/// The most hints: the longest list of ours has five.
const MAX_HINTS: usize = 8;

/// Says why there is no layer, and how to mend it, on standard error and in the log.
pub fn fail(failure: &Failure, log: Option<&Log>) -> ExitCode {
    let mut message = cleaned(&failure.message);
    if message.trim().is_empty() {
        message = "the guest failed and does not say why".to_owned();
    }
    cut(&mut message, MAX_ERROR);
    let mut text = format!("ctd-decoder: error: {message}\n");
    let hints = failure.hints.iter().map(|hint| cleaned(hint));
    let hints = hints.filter(|hint| !hint.trim().is_empty()).take(MAX_HINTS);
    let hints: Vec<_> = hints.collect();
    for hint in &hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    cut(&mut text, MAX_MESSAGE);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    say(&text);
    if let Some(log) = log {
        log.layer().is_of(failure);
        log.end(&Verdict::Failed { error: message, hints });
        linger::hold_stdout();
    }
    ExitCode::FAILURE
}

/// Prints help or the version.
pub fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to standard error, which may be closed.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A bug of ours is one error line too, without a backtrace, which would open files.
pub fn speak_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        // The name alone: the directory is one of whoever built this.
        let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let place = panic.location();
        let place = place.map(|place| format!(" in `{}:{}`", file(place.file()), place.line()));
        say(&format!(
            "ctd-decoder: error: internal error{}\nhint: please report this: it is a bug\n",
            place.unwrap_or_default()
        ));
        std::process::exit(1);
    }));
}

/// What came from outside, fit for a terminal and a log: one line, no control characters, no PEM
/// block, and no run of letters and digits as long as a line of key material. It keeps secrets
/// out that got into a message by mistake; a guest that means to can always find another code.
pub fn cleaned(text: &str) -> String {
    let text = without_pem(text);
    let line: String = text
        .chars()
        .filter_map(|c| if c.is_control() { Some(' ') } else { (!is_invisible(c)).then_some(c) })
        .collect();
    let mut line = redacted(&line);
    cut(&mut line, MAX_MESSAGE);
    line
}

fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_key_material_is_taken_out() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
        assert_eq!(cleaned(&format!("read {line} here")), "read … here");
    }

    #[test]
    fn slashes_do_not_hide_key_material() {
        let line = "bgpYygjE1MviyUPvbknN3/jnYylD94SoUjiPzLBTOo/WlSLjALdSoAm/W71ESoP1";
        assert_eq!(cleaned(&format!("read {line} here")), "read … here");
    }

    #[test]
    fn a_pem_block_is_taken_out_to_its_last_line() {
        let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\nBB==\n-----END PRIVATE KEY-----";
        assert_eq!(cleaned(&format!("bad `{pem}`, sorry")), "bad `…`, sorry");
        assert_eq!(cleaned("bad -----BEGIN PRIVATE KEY-----\nAAAA\n"), "bad …");
    }

    #[test]
    fn paths_of_pods_stay() {
        let text = "/var/lib/kubelet/pods/3f2504e0-4f89-41d3-9a0c-0305e82c3301/volumes/Secret1";
        assert_eq!(cleaned(text), text);
    }

    #[test]
    fn text_cannot_be_turned_around() {
        assert_eq!(cleaned("a\u{202e}b\u{2028}c\u{feff}"), "abc");
    }

    #[test]
    fn fingerprints_and_paths_stay() {
        let text = "`/etc/containerd/ocicrypt/keys/tenant-a/pod-identity.pem` \
                    SHA256:uNiVztksCsDhcc0u9e8BrrQXVUDQ7v9RzJMVlQx2tKA";
        assert_eq!(cleaned(text), text);
    }

    #[test]
    fn control_characters_and_lines_are_flattened() {
        assert_eq!(cleaned("a\x1b[31mb\nc\0"), "a [31mb c ");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        assert!(cleaned(&"é ".repeat(5000)).len() < MAX_MESSAGE + 8);
    }
}
