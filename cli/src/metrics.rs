//! `keycell metrics`: numbers about layers, keys and the node for Prometheus, from the decoder's log.

mod event;
mod exposition;
mod journal;
mod lines;
mod log_file;
mod node;
mod render;
mod state;
mod totals;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use keycell_diagnostic::hint::ToolHint;
use keycell_diagnostic::{Diagnostic, os_error};
use keycell_settings::Destination;

use crate::doctor;
use crate::output::{OutputError, print, tell};

use journal::JournalError;
use node::Node;
use state::{Locked, State};

/// The socket of journald: where it is missing, a decoder cannot have logged to the journal.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The arguments of `keycell metrics`.
#[derive(Args)]
pub struct Arguments {
    /// Write to this file instead of standard output; it is replaced as a whole
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Read this log instead of those that the decoder's flags and configuration name
    #[arg(long, value_name = "journal|syslog|FILE")]
    log: Option<PathBuf>,
    /// Where the counters are kept between runs
    #[arg(long, value_name = "FILE", default_value = "/var/lib/keycell/metrics.json")]
    state: PathBuf,
    #[command(flatten)]
    node: doctor::Node,
}

/// Why there are no metrics, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The state cannot be read or written.
    #[error("cannot keep the counters in `{}`: {}", path.display(), os_error(error))]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write `{}`: {}", path.display(), os_error(error))]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Standard output cannot be written to.
    #[error(transparent)]
    Standard(#[from] OutputError),
    /// A log file cannot be read.
    #[error("cannot read the log `{}`: {}", path.display(), os_error(error))]
    Log {
        /// The file, or its directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The journal cannot be read.
    #[error("cannot read the journal: {0}")]
    Journal(#[from] JournalError),
    /// The decoder does not log.
    #[error("the decoder's log is off, so no layers are counted")]
    Off,
}

impl MetricsError {
    fn hint(&self) -> ToolHint {
        let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match self {
            Self::State { error, .. } | Self::Output { error, .. } | Self::Log { error, .. }
                if is_denied(error) =>
            {
                ToolHint::MetricsAsRoot
            }
            Self::State { .. } => ToolHint::MetricsState,
            Self::Output { .. } | Self::Standard(_) => ToolHint::MetricsOutput,
            Self::Log { .. } => ToolHint::MetricsLog,
            Self::Journal(_) => ToolHint::MetricsJournal,
            Self::Off => ToolHint::MetricsOff,
        }
    }
}

impl From<MetricsError> for Diagnostic {
    fn from(error: MetricsError) -> Self {
        Self::new(error.to_string(), error.hint())
    }
}

/// Counts what was logged since the last run, and prints all metrics. If a log cannot be read, the
/// other metrics are printed before the error is returned.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let node = Node::examine(&arguments.node);
    let logs = match &arguments.log {
        Some(log) => vec![Destination::from(log.clone())],
        None => node.logs(),
    };
    let (mut state, unreadable) = count(arguments, &node, &logs).map_err(Diagnostic::from)?;
    let text = render::render(&mut state.totals, &node, unreadable.is_none());
    write(arguments.output.as_deref(), &text).map_err(Diagnostic::from)?;
    match unreadable {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(Diagnostic::from(error).into()),
    }
}

/// Reads the logs and keeps the counters. Also returns why a log cannot be read.
fn count(
    arguments: &Arguments,
    node: &Node,
    logs: &[Destination],
) -> Result<(State, Option<MetricsError>), MetricsError> {
    let failed = |error| MetricsError::State { path: arguments.state.clone(), error };
    let locked = Locked::new(&arguments.state).map_err(failed)?;
    let mut state = locked.read().map_err(failed)?.unwrap_or_else(|| {
        tell(format_args!(
            "keycell: note: `{}` is damaged: the counters begin with what the log still has\n",
            arguments.state.display()
        ));
        State::default()
    });
    // A decoder whose flags or configuration are unusable logs that to the journal, wherever its log
    // would be.
    let is_named = arguments.log.is_some();
    let also_journal = !is_named && Path::new(JOURNAL).exists();
    let is_journal = |log: &Destination| !matches!(log, Destination::File(_) | Destination::Off);
    let mut unreadable = None;
    if also_journal || logs.iter().any(is_journal) {
        unreadable = read_journal(&node.users(), &mut state).err();
    }
    for log in logs {
        let read = match log {
            Destination::File(log) => read_file(log, &mut state),
            Destination::Off => Err(MetricsError::Off),
            Destination::System | Destination::Journal | Destination::Syslog => Ok(()),
        };
        unreadable = unreadable.or(read.err());
    }
    locked.write(&state).map_err(failed)?;
    Ok((state, unreadable))
}

fn read_journal(users: &BTreeSet<u32>, state: &mut State) -> Result<(), MetricsError> {
    let State { totals, journal: cursor, .. } = state;
    Ok(journal::read(users, cursor, |line| totals.count(line))?)
}

fn read_file(log: &Path, state: &mut State) -> Result<(), MetricsError> {
    let positions = state.files.entry(log.to_owned()).or_default();
    let totals = &mut state.totals;
    log_file::read(log, positions, |line| totals.count(line))
        .map_err(|(path, error)| MetricsError::Log { path, error })
}

fn write(output: Option<&Path>, text: &str) -> Result<(), MetricsError> {
    match output {
        None => print(text)?,
        Some(path) => state::replace(path, text.as_bytes(), 0o644)
            .map_err(|error| MetricsError::Output { path: path.to_owned(), error })?,
    }
    Ok(())
}
