//! All that is forbidden, tried in both instances of the real host, and what came of it.
//!
//! Runs itself as the decoder: once for the attempts that the guest gets an answer to, at the end
//! of which the layer has to come out whole, and once more for each that ends the instance.

use std::env;
use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use keycell_hostile::attack::{Attack, Seen};
use keycell_hostile::guest;
use keycell_hostile::layer::LARGE;

fn main() -> ExitCode {
    if guest::is_wanted() {
        return guest::main();
    }
    match probe().and_then(|attempts| print(&attempts)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("probe: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One attempt and what came of it.
struct Attempt {
    what: String,
    step: String,
    outcome: String,
    refused: bool,
}

/// Attempts that end `unwrap`, as `guests/examples/probe.rs` numbers them.
const ENDING_UNWRAP: [&str; 3] = ["1", "2", "3"];

/// Attempts that end `decrypt`, or the layer.
const ENDING_DECRYPT: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// The number of the attempt that never ends, in both.
const ENDLESS: u8 = 3;

fn probe() -> Result<Vec<Attempt>> {
    let attack = || -> Result<Attack> { Ok(Attack::new(&env::current_exe()?, "probe")) };
    let seen = attack()?.note("0").tag(0).run(LARGE)?;
    ensure!(
        seen.outcome.status.success() && seen.outcome.stdout == seen.layer.plain,
        "the layer did not come out after all attempts: {}",
        seen.outcome.stderr
    );
    let mut attempts = attempts(&seen);
    for note in ENDING_UNWRAP {
        let seconds = if note == ENDLESS.to_string() { 1 } else { 30 };
        let seen = attack()?.note(note).seconds(seconds).run(LARGE)?;
        attempts.push(ending(&seen)?);
    }
    for tag in ENDING_DECRYPT {
        let seconds = if tag == ENDLESS { 1 } else { 30 };
        let seen = attack()?.tag(tag).seconds(seconds).run(LARGE)?;
        attempts.push(ending(&seen)?);
    }
    let seen = Attack::new(&env::current_exe()?, "sockets").run(LARGE)?;
    let refused = error(&seen).contains("connect: refused") && seen.outcome.stdout.is_empty();
    let (what, step) = ("connect to the network".to_owned(), "unwrap".to_owned());
    let outcome = "refused: there are no sockets".to_owned();
    attempts.push(Attempt { what, step, outcome, refused });
    // Those of `unwrap` first, each in the order in which it was made.
    attempts.sort_by_key(|attempt| attempt.step != "unwrap");
    Ok(attempts)
}

/// What the guest had to say: `unwrap: read /etc/passwd: refused (…)`.
fn attempts(seen: &Seen) -> Vec<Attempt> {
    let events = seen.events().unwrap_or_default();
    let notes = events.iter().filter_map(|event| event["note"].as_str()?.strip_prefix("guest: "));
    let parts = notes.filter_map(|line| {
        let (step, rest) = line.split_once(": ")?;
        let (what, outcome) = rest.split_once(": ")?;
        let (step, what) = (step.to_owned(), what.to_owned());
        let steps = ["unwrap", "decrypt"];
        steps.contains(&step.as_str()).then(|| Attempt {
            what,
            step,
            refused: outcome.starts_with("refused"),
            outcome: readable(outcome),
        })
    });
    parts.collect()
}

/// The one attempt of a run that it ends. A guest that was refused in words goes on, and then the
/// host has to refuse the layer.
fn ending(seen: &Seen) -> Result<Attempt> {
    let mut attempts = attempts(seen);
    ensure!(attempts.len() == 1, "not one attempt but {}: {}", attempts.len(), seen.log);
    let mut attempt = attempts.remove(0);
    let failed = seen.outcome.status.code() == Some(1);
    let incomplete = seen.outcome.stdout.len() < seen.layer.plain.len();
    attempt.refused = failed && incomplete && !seen.log.contains("HARM");
    if attempt.refused {
        attempt.outcome = format!("refused and ended: {}", error(seen));
    }
    Ok(attempt)
}

/// The reason in the error's first line.
fn error(seen: &Seen) -> &str {
    let line = seen.outcome.stderr.lines().next().unwrap_or_default();
    let line = line.strip_prefix("ctd-decoder: error: ").unwrap_or(line);
    let line = line.split_once("`: ").map_or(line, |(_, why)| why);
    line.split_once("; it last said").map_or(line, |(why, _)| why)
}

/// The words of an error without its type.
fn readable(outcome: &str) -> String {
    let Some((verdict, why)) = outcome.split_once(" (") else { return outcome.to_owned() };
    let why = why.trim_end_matches(')');
    let words = match why.split_once("message: \"") {
        Some((_, message)) => message.split(['"', ',']).next().unwrap_or(message),
        None => why
            .split(['(', ')'])
            .next()
            .unwrap_or(why)
            .trim_start_matches("Refusal::")
            .trim_start_matches("StreamError::"),
    };
    format!("{verdict}: {}", words.trim_matches(['"', '.']))
}

/// Prints a table; whether everything was refused.
fn print(attempts: &[Attempt]) -> Result<bool> {
    let mut out = stdout().lock();
    let width = attempts.iter().map(|attempt| attempt.what.len()).max().context("no attempts")?;
    writeln!(out, "{:width$}  {:8}  outcome", "attempt", "instance")?;
    for Attempt { what, step, outcome, refused } in attempts {
        let mark = if *refused { "" } else { "NOT REFUSED: " };
        writeln!(out, "{what:width$}  {step:8}  {mark}{outcome}")?;
    }
    let succeeded = attempts.iter().filter(|attempt| !attempt.refused).count();
    match succeeded {
        0 => writeln!(out, "\n{} attempts, all of them refused", attempts.len())?,
        _ => writeln!(out, "\n{} attempts, {succeeded} of them NOT refused", attempts.len())?,
    }
    Ok(succeeded == 0)
}
