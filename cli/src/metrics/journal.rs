//! Reads the entries of the decoder in the journal, through `journalctl`.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::event::{self, Line};
use super::lines;

/// How long one run reads the journal. What is left is for the next run.
const PATIENCE: Duration = Duration::from_secs(30);

/// The fields that are read, besides those that `journalctl` always prints.
const FIELDS: &str = "MESSAGE,KEYCELL_EVENT,KEYCELL_VERDICT,KEYCELL_SCHEME,KEYCELL_FINGERPRINT,\
    KEYCELL_BYTES,KEYCELL_MILLISECONDS,KEYCELL_PROVIDERS,KEYCELL_MISSING_WALLS";

/// The most bytes of an error of `journalctl`.
const MAX_ERROR: u64 = 4096;

/// Why the journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The program cannot be started.
    #[error("cannot start `journalctl`: {}", keycell_diagnostic::os_error(.0))]
    NotStarted(io::Error),
    /// Its output cannot be read.
    #[error("cannot read what `journalctl` prints: {}", keycell_diagnostic::os_error(.0))]
    NotRead(io::Error),
    /// It failed.
    #[error("`journalctl` failed: {0}")]
    Failed(Failure),
}

/// How `journalctl` failed: in its own words, if it has any.
#[derive(Debug)]
pub struct Failure {
    said: Vec<u8>,
    status: std::process::ExitStatus,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = String::from_utf8_lossy(&self.said);
        match said.lines().map(super::totals::label).find(|line| !line.trim().is_empty()) {
            Some(line) => write!(f, "`{}`", line.trim()),
            None => write!(f, "{}", self.status),
        }
    }
}

/// Reads the entries after `cursor` that processes of `users` wrote, and moves the cursor. Everyone on
/// the node can write to the journal, under any name: only journald's own field says who did.
///
/// # Errors
/// `journalctl` is missing or fails.
pub fn read(
    users: &BTreeSet<u32>,
    cursor: &mut Option<String>,
    mut each: impl FnMut(&Line),
) -> Result<(), JournalError> {
    let mut command = Command::new("journalctl");
    command.args(["--identifier", "ctd-decoder", "--output", "json", "--all", "--quiet"]);
    command.args(["--no-pager", "--output-fields", FIELDS]);
    command.args(cursor.iter().map(|cursor| format!("--after-cursor={cursor}")));
    command.args(users.iter().map(|user| format!("_UID={user}")));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(JournalError::NotStarted)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (done, is_done) = mpsc::channel::<()>();
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // The process is not reaped before this thread has ended, so the number is still its own.
    let watch = thread::spawn(move || {
        let is_late = is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if let (true, Some(process)) = (is_late, process) {
            let _ = kill_process(process, Signal::KILL); // it may have ended by itself
        }
        is_late
    });
    let errors = thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            // All is read, so that the program never waits for a reader.
            let _ = stderr.by_ref().take(MAX_ERROR).read_to_end(&mut said);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        said
    });
    let mut read = Ok(());
    if let Some(stdout) = stdout {
        read = lines::for_each(&mut BufReader::new(stdout), |line| {
            let entry = line.text.and_then(event::object);
            let next =
                entry.as_ref().and_then(|entry| entry.get("__CURSOR")).and_then(Value::as_str);
            if let Some(next) = next {
                *cursor = Some(next.to_owned());
            }
            each(&entry.map_or(Line::Garbage, |entry| event::of_journal(&entry)));
        });
    }
    drop(done);
    let was_late = watch.join().unwrap_or_default();
    let said = errors.join().unwrap_or_default();
    let status = child.wait().map_err(JournalError::NotRead)?;
    read.map_err(JournalError::NotRead)?;
    if status.success() || was_late {
        return Ok(());
    }
    Err(JournalError::Failed(Failure { said, status }))
}
