//! The operating system's walls: what the host requests, and how it reports them.

use std::path::Path;

use keycell_core::sanitize::sanitize;
use keycell_diagnostic::hint::DecoderHint;
use keycell_settings::Settings;
use keycell_walls::Wall;
use keycell_walls::decoder::{Needs, Walls};
use keycell_walls::rights::User;
use keycell_walls::sigsys::{self, Entry};
use rustix::fs::{FileType, fstat};

use crate::report::event::Verdict;
use crate::report::failure::ends_a_run;
use crate::report::log::Log;
use crate::report::{explain, stderr};
use crate::unix::hold_stdout;

/// Why the walls are not up.
#[derive(Debug, thiserror::Error)]
pub enum WallError {
    /// The process cannot become the configured user.
    #[error("cannot become the user `{user}`, which `--user` names: {why}")]
    User {
        /// The user.
        user: String,
        /// Why.
        why: String,
    },
    /// A wall is missing, and all are required.
    #[error("the sandbox has no wall `{name}`, and `--require-sandbox` is set: {why}")]
    Missing {
        /// The wall.
        name: String,
        /// Why the kernel does not provide it.
        why: String,
    },
}

impl WallError {
    fn hint(&self) -> DecoderHint {
        match self {
            Self::User { .. } => DecoderHint::User,
            Self::Missing { .. } => DecoderHint::WallMissing,
        }
    }
}

ends_a_run!(WallError);

/// Puts up the walls of the first phase, around `step`. The directory `keys` may be read, and the
/// process group `broker` may be ended. A command has no second phase.
///
/// # Errors
/// The process cannot become the user; with `--require-sandbox`, a wall is missing.
pub fn before_guest(
    step: &str,
    settings: &Settings,
    keys: Option<&Path>,
    broker: Option<i32>,
    log: &Log,
) -> Result<Walls, WallError> {
    let name = settings.sandbox.user.as_deref();
    let user = name.map(User::parse).transpose().map_err(|why| cannot_become(name, &why))?;
    let needs = Needs {
        keys,
        broker,
        user: user.as_ref(),
        stopped_call: entry(log),
        before_exit: Some(hold_stdout::hold_stdout),
        writes_files: log.is_file() || settings.verify_first.is_some() || a_stream_is_a_file(),
    };
    let walls = Walls::before_guest(needs).map_err(|why| cannot_become(name, &why))?;
    for wall in walls.missing().filter(|wall| wall.required) {
        let why = sanitize(&reason(wall));
        log.note(&format!("the sandbox has no wall `{}`: {why}", wall.name));
        log.layer().lacks_wall(wall.name);
    }
    check(walls, settings, step)
}

/// Puts up the walls of the second phase, in which only the layer flows. The log gets a note of each
/// wall that was up before and could not be closed further.
///
/// # Errors
/// With `--require-sandbox`, a wall is missing.
pub fn before_layer(walls: Walls, settings: &Settings, log: &Log) -> Result<(), WallError> {
    let missing_before: Vec<_> = walls.missing().map(|wall| wall.name).collect();
    let walls = walls.before_layer();
    let is_new = |wall: &&Wall| wall.required && !missing_before.contains(&wall.name);
    for wall in walls.missing().filter(is_new) {
        let (name, why) = (wall.name, sanitize(&reason(wall)));
        log.note(&format!("the sandbox has no wall `{name}` while the layer flows: {why}"));
        log.layer().lacks_wall(name);
    }
    check(walls, settings, "decrypt").map(drop)
}

fn check(walls: Walls, settings: &Settings, step: &str) -> Result<Walls, WallError> {
    if settings.report.explain {
        stderr::say(&explain::walls(step, walls.walls()));
    }
    let missing = walls.missing().find(|wall| wall.required);
    if let (true, Some(wall)) = (settings.sandbox.is_required, missing) {
        let (name, why) = (wall.name.to_string(), reason(wall));
        return Err(WallError::Missing { name, why });
    }
    Ok(walls)
}

/// Why a wall is missing.
fn reason(wall: &Wall) -> String {
    wall.missing().map(ToString::to_string).unwrap_or_default()
}

fn cannot_become(user: Option<&str>, why: &impl ToString) -> WallError {
    WallError::User { user: user.unwrap_or_default().to_owned(), why: why.to_string() }
}

/// The event of the log for a system call that was stopped.
fn entry(log: &Log) -> Option<Entry<'_>> {
    let text = log.prepared(&stopped())?;
    log.descriptor().map(|log| Entry { log, text })
}

/// Whether standard output or standard error is a file.
fn a_stream_is_a_file() -> bool {
    [rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().any(|stream| {
        let found = fstat(stream);
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
    })
}

/// The verdict on a layer whose decoder made a forbidden system call.
fn stopped() -> Verdict {
    let (error, hint) = sigsys::texts();
    Verdict::Failed { error, hints: vec![hint.to_owned()] }
}
