//! Runs a provider's command that may use only the files that the operator names.
//!
//! Walls belong to a process, and stay when it executes another program. So this program is started
//! again: it puts up the walls and then becomes the command.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use keycell_walls::module::around_command;

use super::{program, text};
use crate::self_exec;

/// The first argument. It is followed by the number of files, the files, the command and its own
/// arguments.
const ARGUMENT: &str = "provider-command";

/// The exit code of a shell that cannot execute a program.
pub(super) const NOT_EXECUTED: u8 = 126;

/// A program that becomes `path` with `args`, and can reach `files` and the system's libraries.
pub(super) fn command(path: &str, args: &[String], files: &[PathBuf]) -> Command {
    let mut command = self_exec::command(ARGUMENT);
    command.arg(files.len().to_string()).args(files).arg(path).args(args);
    command
}

/// Whether this process was started by [`command`].
pub(crate) fn is_asked() -> bool {
    env::args_os().nth(1).is_some_and(|first| first == ARGUMENT)
}

/// Becomes the command. It returns only if the command cannot be started.
pub(crate) fn main() -> ExitCode {
    let error = become_command(env::args_os().skip(2)).unwrap_or(Error::NotAsked);
    eprintln!("{error}"); // the broker reads this, and shows it with the command's name
    ExitCode::from(NOT_EXECUTED)
}

/// Why this process did not become the command.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("it was not asked")]
    NotAsked,
    #[error(transparent)]
    Program(#[from] program::Error),
    #[error("it cannot be confined to `files` in its `cmd`: {0}")]
    NotConfined(keycell_walls::Error),
    #[error("it cannot be executed within `files` in its `cmd`: {}", text::io_error(.0))]
    NotExecuted(io::Error),
}

/// Returns why this process did not become the command. None if the arguments are not those of
/// [`command`].
fn become_command(mut arguments: impl Iterator<Item = OsString>) -> Option<Error> {
    let count = arguments.next()?.to_str()?.parse().ok()?;
    let files: Vec<PathBuf> = arguments.by_ref().take(count).map(PathBuf::from).collect();
    let path = arguments.next()?.into_string().ok()?;
    let program = match program::found(&path) {
        Ok(program) => program,
        Err(error) => return Some(error.into()),
    };
    if let Err(error) = around_command(&program, &files) {
        return Some(Error::NotConfined(error));
    }
    Some(Error::NotExecuted(Command::new(program).arg0(path).args(arguments).exec()))
}
