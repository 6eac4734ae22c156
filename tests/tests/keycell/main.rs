//! `keycell encrypt`, `decrypt` and `inspect` on image layouts: what it writes, skopeo reads, and
//! vice versa; and no failure damages an image.

mod failures;
mod keygen;
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
    suite.run()
}

/// The program that `make` built.
fn keycell(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(keycell_tests::dist("keycell")?);
    command.args(args);
    Ok(command)
}

/// Runs to its end and says this.
fn succeeds(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {}; stderr: {stderr}", output.status);
    ensure!(stderr.is_empty(), "{command:?} says on stderr: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Fails with one error that holds each of `words`.
fn fails(command: &mut Command, words: &[&str]) -> Result<()> {
    let Output { status, stdout, stderr } = command.output()?;
    let stderr = String::from_utf8(stderr)?;
    ensure!(status.code() == Some(1), "{status}: {stderr}");
    ensure!(stdout.is_empty(), "an error with output");
    ensure!(stderr.starts_with("keycell: error: "), "no error: {stderr}");
    ensure!(stderr.matches("error: ").count() == 1, "several errors: {stderr}");
    for word in words {
        ensure!(stderr.contains(word), "nothing of `{word}`: {stderr}");
    }
    Ok(())
}
