//! The one place that speaks to containerd: on standard error.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::cleaned::{MAX_MESSAGE, cut};
use crate::contract::Failure;
use crate::event::Verdict;
use crate::log::Log;
use crate::store::Digest;
use crate::store::failures::named;
use crate::{crash, linger};

pub use crate::cleaned::cleaned;

/// The longest error without its hints, in bytes: they must not be what is cut off.
const MAX_ERROR: usize = 3072;

/// The most hints: the longest list of ours has five.
const MAX_HINTS: usize = 8;

/// Says why there is no layer, and how to mend it, in the log and on standard error.
pub fn fail(failure: &Failure, log: &Log) -> ExitCode {
    tell(failure, &[], log, None)
}

/// The same, with the digests of the manifests that are the cause: the host knows them from its own
/// list, so they need not be cleaned.
pub fn fail_naming(failure: &Failure, manifests: &[Vec<Digest>], log: &Log) -> ExitCode {
    tell(failure, manifests, log, None)
}

/// The same, but standard error only says where the log is: a message names keys and their
/// fingerprints, and containerd shows it to whoever may see a pod.
pub fn fail_quietly(failure: &Failure, manifests: &[Vec<Digest>], log: &Log) -> ExitCode {
    let hint = match log.place() {
        Some(place) => format!("the reason and the ways out are in {place}"),
        None => "there is no log that could tell the reason: `log` names one".to_owned(),
    };
    let text = format!(
        "ctd-decoder: error: the layer could not be decrypted\n\
         hint: `quiet-errors` is on: {}\n",
        cleaned(&hint)
    );
    tell(failure, manifests, log, Some(&text))
}

/// `instead` is what standard error says, unless it is what the log says.
fn tell(
    failure: &Failure,
    manifests: &[Vec<Digest>],
    log: &Log,
    instead: Option<&str>,
) -> ExitCode {
    let mut message = cleaned(&failure.message);
    if message.trim().is_empty() {
        message = "the guest failed and does not say why".to_owned();
    }
    cut(&mut message, MAX_ERROR);
    if !manifests.is_empty() {
        cut(&mut message, MAX_ERROR / 2);
        message += &format!(" (manifests: {})", named(manifests));
    }
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
    log.layer().is_of(failure);
    log.end(&Verdict::Failed { error: message, hints });
    say(instead.unwrap_or(&text));
    linger::hold_stdout();
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

/// A bug of ours is one error line too, and an event, without a backtrace, which would open files.
pub fn speak_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        // The name alone: the directory is one of whoever built this.
        let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let place = panic.location();
        let place = place.map(|place| format!(" in `{}:{}`", file(place.file()), place.line()));
        crash::panicked(&format!(
            "ctd-decoder: error: internal error{}\nhint: please report this: it is a bug\n",
            place.unwrap_or_default()
        ));
    }));
}
