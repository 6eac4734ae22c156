//! The operating system's walls, as the host asks for them and speaks of them.

use keycell_walls::Wall;
use keycell_walls::decoder::{Needs, Walls};
use keycell_walls::rights::User;
use keycell_walls::sigsys::{self, Entry};
use rustix::fs::{FileType, fstat};

use crate::args::Job;
use crate::broker::Broker;
use crate::contract::Failure;
use crate::event::Verdict;
use crate::failures::with_hint;
use crate::keys::Keys;
use crate::log::Log;
use crate::message::cleaned;
use crate::{explain, linger, message};

/// Puts up the walls of the first phase, around `step`: keys are read, the broker is asked. A
/// command has no other phase.
///
/// # Errors
/// A user that the process cannot become; with `--require-sandbox`, a wall that is missing.
pub fn before_guest(
    step: &str,
    job: &Job,
    keys: &Keys,
    broker: &Broker,
    log: &Log,
) -> Result<Walls, Failure> {
    let user = job
        .user
        .as_deref()
        .map(|name| User::parse(name).map_err(|why| cannot_become(name, &why.to_string())));
    let user = user.transpose()?;
    let keys = match keys {
        Keys::Directory(path) => Some(path.as_path()),
        _ => None,
    };
    let needs = Needs {
        keys,
        broker: broker.group(),
        user: user.as_ref(),
        stopped_call: entry(log),
        farewell: Some(linger::hold_stdout),
        writes_files: log.is_file() || job.verify_first.is_some() || a_stream_is_a_file(),
    };
    let walls = Walls::before_guest(needs);
    let walls = walls
        .map_err(|why| cannot_become(job.user.as_deref().unwrap_or_default(), &why.to_string()))?;
    for wall in walls.missing().filter(|wall| wall.required) {
        log.note(&format!("the sandbox has no wall `{}`: {}", wall.name, why_missing(wall)));
    }
    checked(walls, job, step)
}

/// Puts up the walls of the second phase: the layer flows, and nothing else happens any more. The log gets
/// a note of each wall that was up until then and could not be closed further.
///
/// # Errors
/// With `--require-sandbox`, a wall that is missing.
pub fn before_layer(walls: Walls, job: &Job, log: &Log) -> Result<(), Failure> {
    let missing_before: Vec<_> = walls.missing().map(|wall| wall.name).collect();
    let walls = walls.before_layer();
    let is_new = |wall: &&Wall| wall.required && !missing_before.contains(&wall.name);
    for wall in walls.missing().filter(is_new) {
        let (name, why) = (wall.name, why_missing(wall));
        log.note(&format!("the sandbox has no wall `{name}` while the layer flows: {why}"));
    }
    checked(walls, job, "decrypt").map(drop)
}

fn checked(walls: Walls, job: &Job, step: &str) -> Result<Walls, Failure> {
    if job.explain {
        message::say(&explain::walls(step, walls.walls()));
    }
    let missing = walls.missing().find(|wall| wall.required);
    if let (true, Some(wall)) = (job.require_sandbox, missing) {
        return Err(with_hint(
            format!(
                "the sandbox has no wall `{}`, and `--require-sandbox` is set: {}",
                wall.name,
                wall.missing().map(ToString::to_string).unwrap_or_default()
            ),
            "`keycell doctor` shows which walls this kernel gives; without `--require-sandbox` \
             the layer is decrypted behind the others",
        ));
    }
    Ok(walls)
}

/// Why a wall is missing, fit for the log.
fn why_missing(wall: &Wall) -> String {
    cleaned(&wall.missing().map(ToString::to_string).unwrap_or_default())
}

/// What the log is told when a system call was stopped: an event too.
fn entry(log: &Log) -> Option<Entry<'_>> {
    let text = log.foreseen(&Verdict::said(&sigsys::words()))?;
    log.descriptor().map(|log| Entry { log, text })
}

fn cannot_become(user: &str, why: &str) -> Failure {
    with_hint(
        format!("cannot become the user `{user}`, which `--user` names: {why}"),
        "`--user` takes a name from `/etc/passwd`, `UID` or `UID:GID`, and needs root",
    )
}

/// Standard output, or standard error.
fn a_stream_is_a_file() -> bool {
    [rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().any(|stream| {
        let found = fstat(stream);
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
    })
}
