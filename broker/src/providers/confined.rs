//! A provider's command that may use no more than the files that the operator names.
//!
//! Walls are a process's own, and stay with what it becomes. So this program is started once more: it
//! puts them up and then becomes the command.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use keycell_walls::module::around_command;

use super::program::found;
use super::text;
use crate::self_exec;

/// The argument before how many files there are, the files, the command and its own arguments.
const ARGUMENT: &str = "provider-command";

/// What a shell ends with where it cannot execute something.
const NOT_EXECUTED: u8 = 126;

/// The program that becomes `path` with `args`, and can reach `files` and the system's libraries.
pub(super) fn command(path: &str, args: &[String], files: &[PathBuf]) -> Command {
    let mut command = self_exec::command(ARGUMENT);
    command.arg(files.len().to_string()).args(files).arg(path).args(args);
    command
}

/// Whether this process was started by [`command`].
pub(crate) fn is_asked() -> bool {
    env::args_os().nth(1).is_some_and(|first| first == ARGUMENT)
}

/// Does not return, but where the command cannot be started.
pub(crate) fn main() -> ExitCode {
    let why =
        become_command(env::args_os().skip(2)).unwrap_or_else(|| "it was not asked".to_owned());
    eprintln!("{why}"); // the broker reads it, and shows it with the command's name
    ExitCode::from(NOT_EXECUTED)
}

/// Why it did not become the command. None if the arguments are not those of [`command`].
fn become_command(mut arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let count = arguments.next()?.to_str()?.parse().ok()?;
    let files: Vec<PathBuf> = arguments.by_ref().take(count).map(PathBuf::from).collect();
    let path = arguments.next()?.into_string().ok()?;
    let program = match found(&path) {
        Ok(program) => program,
        Err(why) => return Some(why),
    };
    if let Err(why) = around_command(&program, &files) {
        return Some(format!("it cannot be confined to `files` in its `cmd`: {why}"));
    }
    let error = Command::new(program).arg0(path).args(arguments).exec();
    Some(format!("it cannot be executed within `files` in its `cmd`: {}", text::plain(&error)))
}
