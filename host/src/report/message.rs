//! The message about a layer that was not decrypted, on standard error and in the log.

use std::fmt::Write as _;
use std::process::ExitCode;

use keycell_core::sanitize::{MAX_MESSAGE, cut, sanitize};
use keycell_diagnostic::hint::DecoderHint;

use crate::unix::hold_stdout::hold_stdout;

use super::event::Verdict;
use super::failure::Failure;
use super::log::Log;
use super::stderr;

/// The longest error without its hints, in bytes: it is cut, so that the hints are not.
const MAX_ERROR: usize = 3072;

/// The most hints: the host's own longest list has five.
const MAX_HINTS: usize = 8;

/// The most manifests that a message names.
const MAX_MANIFESTS: usize = 8;

/// Reports why there is no layer, and how to fix it, in the log and on standard error.
///
/// If standard error is to be `quiet`, it only says where the log is: a message names keys and their
/// fingerprints, and containerd shows it to everyone who may see a pod.
pub fn fail(failure: &Failure, quiet: bool, log: &Log) -> ExitCode {
    let mut message = sanitize(&failure.diagnostic.message);
    if message.trim().is_empty() {
        message = "the guest failed and does not say why".to_owned();
    }
    cut(&mut message, MAX_ERROR);
    if !failure.manifests.is_empty() {
        cut(&mut message, MAX_ERROR / 2);
        // The host knows these digests from its own list, so they need not be sanitized.
        message += &format!(" (manifests: {})", named(&failure.manifests));
    }
    let hints = failure.diagnostic.hints.iter().map(|hint| sanitize(&hint.to_string()));
    let hints = hints.filter(|hint| !hint.trim().is_empty()).take(MAX_HINTS);
    let hints: Vec<_> = hints.collect();
    let text = if quiet {
        let hint = DecoderHint::QuietErrors { log: log.location() };
        let message = "the layer could not be decrypted";
        format!("ctd-decoder: error: {message}\nhint: {}\n", sanitize(&hint.to_string()))
    } else {
        text(&message, &hints)
    };
    log.layer().is_of(failure.layer_digest.as_deref());
    log.end(&Verdict::Failed { error: message, hints });
    stderr::say(&text);
    hold_stdout();
    ExitCode::FAILURE
}

fn text(message: &str, hints: &[String]) -> String {
    let mut text = format!("ctd-decoder: error: {message}\n");
    for hint in hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    cut(&mut text, MAX_MESSAGE);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Which manifests a failure is about, grouped by key.
fn named(manifests: &[Vec<String>]) -> String {
    let each = match manifests.len() {
        1 => MAX_MANIFESTS,
        2 => MAX_MANIFESTS / 2,
        _ => 1,
    };
    let groups = manifests.iter().filter(|digests| !digests.is_empty()).take(MAX_MANIFESTS);
    let groups = groups.map(|digests| {
        let named = digests.iter().take(each).map(|digest| format!("`{digest}`"));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if digests.len() > each {
            named += &format!(" and {} more", digests.len() - each);
        }
        named
    });
    let mut text = groups.collect::<Vec<_>>().join("; ");
    if manifests.len() > MAX_MANIFESTS {
        text += &format!("; and those of {} keys more", manifests.len() - MAX_MANIFESTS);
    }
    text
}
