//! `keycell encrypt`, `decrypt` and `inspect` on image layouts: what it writes, skopeo reads, and
//! vice versa; and no failure damages an image.

mod clear;
mod copying;
mod failures;
mod hostile;
mod keygen;
mod outcomes;
mod recipients;
mod recipients_removed;
mod registries;
mod transports;
mod warnings;

use std::process::{Command, ExitCode, Output};

use anyhow::{Result, ensure};
use keycell_tests::suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    recipients::cases(&mut suite);
    failures::cases(&mut suite);
    transports::cases(&mut suite);
    keygen::cases(&mut suite);
    recipients_removed::cases(&mut suite);
    registries::cases(&mut suite);
    warnings::cases(&mut suite);
    clear::cases(&mut suite);
    copying::cases(&mut suite);
    hostile::cases(&mut suite);
    outcomes::cases(&mut suite);
    suite.run()
}

/// The program that `make` built.
fn keycell(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(keycell_tests::dist("keycell")?);
    command.args(args);
    Ok(command)
}

/// Runs to its end, and prints this on standard output.
fn succeeds(command: &mut Command) -> Result<String> {
    Ok(says(command)?.0)
}

/// Runs to its end, and prints this on standard output and on standard error, where lines for blobs that
/// are done do not count.
fn says(command: &mut Command) -> Result<(String, String)> {
    let output = command.output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{command:?}: {}; stderr: {stderr}", output.status);
    let is_progress = |line: &str| line.ends_with(" bytes") && line.contains(": ");
    let said = stderr.lines().filter(|line| !is_progress(line));
    let said = said.map(|line| format!("{line}\n")).collect();
    Ok((String::from_utf8(output.stdout)?, said))
}

/// Fails with one error that holds each of `words`.
fn fails(command: &mut Command, words: &[&str]) -> Result<()> {
    let Output { status, stdout, stderr } = command.output()?;
    let stderr = String::from_utf8(stderr)?;
    ensure!(status.code() == Some(1), "{status}: {stderr}");
    ensure!(stdout.is_empty(), "an error with output");
    let has_error = stderr.lines().any(|line| line.starts_with("keycell: error: "));
    ensure!(has_error, "no error: {stderr}");
    ensure!(stderr.matches("error: ").count() == 1, "several errors: {stderr}");
    for word in words {
        ensure!(stderr.contains(word), "nothing of `{word}`: {stderr}");
    }
    Ok(())
}
