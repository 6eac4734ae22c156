//! Compares the outcome of a case with the expected one.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;

use sha2::{Digest, Sha256};

use super::call::{End, Outcome};
use super::case::{Case, Entry, Expect, Special};
use super::stage::Stage;

/// SIGPIPE, which ends a writer whose reader has gone.
const PIPE: i32 = 13;

/// What programs say when they crash, at the beginning of a line: Go's, Rust's, Python's.
const CRASHES: [&str; 4] =
    ["panic: ", "fatal error: ", "thread '", "Traceback (most recent call last)"];

/// What runtimes of guests print when a guest crashes, anywhere in a line.
const TRAP: &str = "wasm trap: ";

/// The most of a message that a report repeats.
const SHOWN: usize = 200;

/// The result of a case.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What should have happened did.
    Passed,
    /// What happened in its place.
    Failed(String),
    /// The case says nothing of this target, and why.
    NotApplicable(&'static str),
}

/// Compares what a run left with what the case expects.
pub fn judge(case: &Case, stage: &Stage, outcome: &Outcome) -> Verdict {
    match wrong(case, stage, outcome) {
        None => Verdict::Passed,
        Some(what) => Verdict::Failed(what),
    }
}

fn wrong(case: &Case, stage: &Stage, outcome: &Outcome) -> Option<String> {
    let excerpt = excerpt(&outcome.stderr);
    let status = match outcome.end {
        End::Hang(limit) => {
            return Some(format!("still running after {} s{excerpt}", limit.as_secs()));
        }
        End::Exit(status) => status,
    };
    if outcome.flooded {
        return Some(format!("writes without end: {} bytes were read", outcome.stdout.len()));
    }
    let stops = matches!(case.expect, Expect::Stops {});
    if let Some(signal) = status.signal()
        && !(stops && signal == PIPE)
    {
        return Some(format!("ended by signal {signal}{excerpt}"));
    }
    if let Some(line) = crash(&outcome.stderr) {
        return Some(format!("crashed: {line}"));
    }
    if let Some(name) = leaked(case, stage, &outcome.stderr) {
        return Some(format!("the message holds a line of the key `{name}`"));
    }
    let came = outcome.stdout.len();
    match &case.expect {
        Expect::Plain { sha256, size } => {
            if !status.success() {
                Some(format!("{}{excerpt}", exit(status.code())))
            } else if came != *size {
                Some(format!("{came} bytes came out, the layer has {size}"))
            } else if hex(&Sha256::digest(&outcome.stdout)) != *sha256 {
                Some(format!("{came} bytes came out, and they are not the layer"))
            } else {
                None
            }
        }
        Expect::Refused { most } => {
            if status.success() {
                Some(format!("exit code 0, with {came} bytes on standard output"))
            } else if came > *most {
                Some(format!("{came} bytes came out, {most} at most should have"))
            } else if outcome.stderr.iter().all(u8::is_ascii_whitespace) {
                // It is all that containerd shows.
                Some(format!("{} without a message", exit(status.code())))
            } else {
                None
            }
        }
        Expect::Stops {} => {
            status.success().then(|| "exit code 0, though nobody got the layer".to_owned())
        }
    }
}

fn exit(code: Option<i32>) -> String {
    format!("exit code {}", code.unwrap_or_default())
}

fn crash(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let crashed =
        |line: &&str| line.contains(TRAP) || CRASHES.iter().any(|start| line.starts_with(start));
    text.lines().find(crashed).map(shown)
}

/// The name of a key of which the message repeats a line.
fn leaked(case: &Case, stage: &Stage, stderr: &[u8]) -> Option<String> {
    /// Shorter lines may be words of any message.
    const LONG: usize = 40;
    let text_of_target = String::from_utf8_lossy(stderr);
    // A link may lead to anything, which is not the case's own.
    let is_file = |entry: &Entry| !matches!(entry, Entry::Special(Special::Link(_)));
    let keys = case.keys.iter().flatten().filter(|(_, entry)| is_file(entry));
    keys.map(|(name, _)| name)
        .find(|name| {
            let Ok(text) = std::fs::read_to_string(stage.keys().join(name)) else { return false };
            text.lines().any(|line| line.len() >= LONG && text_of_target.contains(line))
        })
        .cloned()
}

/// The beginning of a message, after a colon.
fn excerpt(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if text.is_empty() { String::new() } else { format!(": {}", shown(&text.join(" | "))) }
}

/// The text without control characters.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
