//! What an operator has to do with: the log, `keycell doctor`, `keycell config`, packages,
//! deployment, and a keys directory that changes.

mod algorithms;
mod configure;
mod deploy;
mod doctor;
mod exits;
mod journal;
mod log;
mod metrics;
mod mounted_secret;
mod package;

use std::process::{Command, ExitCode, Output};

use anyhow::{Result, ensure};
use keycell_tests::suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    algorithms::cases(&mut suite);
    log::cases(&mut suite);
    exits::cases(&mut suite);
    doctor::cases(&mut suite);
    configure::cases(&mut suite);
    metrics::cases(&mut suite);
    package::cases(&mut suite);
    deploy::cases(&mut suite);
    mounted_secret::cases(&mut suite);
    suite.run()
}

/// The tool that `make` built.
fn keycell(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(keycell_tests::dist("keycell")?);
    command.args(args);
    Ok(command)
}

/// Runs to its end with this exit code, and says this on standard output.
fn exits(command: &mut Command, code: i32) -> Result<String> {
    let Output { status, stdout, stderr } = command.output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.code() == Some(code), "{command:?}: {status}\n{stdout}\n{stderr}");
    Ok(stdout.into_owned())
}

/// A text has each of `words`.
fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "nothing of `{word}`:\n{text}");
    }
    Ok(())
}
