//! A provider that is a program: the request on its standard input, the answer on its output.

use std::cell::RefCell;
use std::env;
use std::fmt;
use std::future::pending;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use keycell_trusted_path as trusted;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::program::{lookup, search_path, trusted};
use super::text::{self, StderrExcerpt};
use super::{MAX_ANSWER, config, confined};
use config::Environment;

/// How long a killed process may take to end. A process that hangs in the kernel is left running.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs `command` once.
///
/// As with Go ctd-decoder, it gets the whole environment, which is containerd's with the `env` of the
/// stream processor. With `env` in its entry, it gets only the variables that the operator names there,
/// and `PATH`, because a script without one finds no programs. A command that is confined to `files`
/// gets no others either.
pub(super) async fn run(
    command: &config::Command,
    request: &[u8],
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let name = text::name(&command.path);
    let program = lookup(&command.path);
    if let Some(program) = &program {
        trusted(program).map_err(|why| Error::Untrusted { name: name.clone(), why })?;
    }
    let mut child =
        start(command, program).map_err(|error| Error::NotStarted { name: name.clone(), error })?;
    let stderr = RefCell::new(StderrExcerpt::default());
    let talked = tokio::select! {
        talked = timeout(limit, talk(&mut child, request, &stderr)) => talked,
        () = asked_to_end() => {
            kill(&mut child).await;
            std::process::exit(1);
        }
    };
    let ended = match talked {
        Ok(Ok((answer, status))) if status.success() => return Ok(answer),
        Ok(Ok((_, status))) => Ended::Exit(status),
        Ok(Err(Fault::Flood)) => Ended::Flood,
        Ok(Err(Fault::Io(error))) => Ended::Io(error),
        Err(_) => Ended::Late(limit),
    };
    kill(&mut child).await;
    let (stderr, lacks) = (stderr.into_inner().shown(), Lacks::of(command, &ended));
    Err(Error::NoAnswer { name, ended, stderr, lacks })
}

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others could have changed the program.
    #[error("cannot start `{name}`: {why}; {}", .why.mend())]
    Untrusted {
        /// Its name in the configuration.
        name: String,
        /// Who could have, and how to fix it.
        why: trusted::Error,
    },
    /// It did not start.
    #[error("cannot start `{name}`: {}; correct `path` in its `cmd`", text::io_error(.error))]
    NotStarted {
        /// Its name in the configuration.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// It ended, or was killed.
    #[error("`{name}` {ended}{}{lacks}", stderr_shown(.stderr.as_deref()))]
    NoAnswer {
        /// Its name in the configuration.
        name: String,
        /// How it ended.
        ended: Ended,
        /// What it wrote to standard error, sanitized.
        stderr: Option<String>,
        /// What it does not get here, and would get if it were called by hand.
        lacks: Lacks,
    },
}

/// What a command does not get from the broker, because its entry says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacks {
    /// Nothing: it runs as with Go.
    Nothing,
    /// The variables that `env` does not name.
    Variables,
    /// All files that `files` does not name, and all variables that `env` does not name.
    FilesAndVariables,
}

impl Lacks {
    /// What may be why the command ended so.
    fn of(command: &config::Command, ended: &Ended) -> Self {
        match (command.files(), command.environment()) {
            _ if matches!(ended, Ended::Flood | Ended::Io(_)) => Self::Nothing,
            // It was not executed, and has said why.
            (Some(_), _) if ended.code() == Some(confined::NOT_EXECUTED.into()) => Self::Nothing,
            (Some(_), _) => Self::FilesAndVariables,
            (None, Environment::Named(_)) => Self::Variables,
            (None, Environment::All) => Self::Nothing,
        }
    }
}

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "",
            Self::Variables => {
                "; its `cmd` has `env`, so it gets no other variables but `PATH`: add what it needs to \
                 `env`, or remove `env` to pass on all"
            }
            Self::FilesAndVariables => {
                "; its `cmd` has `files`, so it reads nothing else but the system's programs and \
                 libraries, and gets no variables but `PATH` and those in `env`: add what it needs to \
                 `files` and `env`"
            }
        })
    }
}

/// How a command ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It ended by itself.
    #[error("{}", ending(*.0))]
    Exit(ExitStatus),
    /// Its answer was too long.
    #[error("answered more than {} MiB and was killed", MAX_ANSWER >> 20)]
    Flood,
    /// Reading its output failed.
    #[error("cannot be listened to and was killed: {}", text::io_error(.0))]
    Io(io::Error),
    /// It took too long.
    #[error("did not answer within {} and was killed", text::seconds(*.0))]
    Late(Duration),
}

impl Ended {
    fn code(&self) -> Option<i32> {
        match self {
            Self::Exit(status) => status.code(),
            Self::Flood | Self::Io(_) | Self::Late(_) => None,
        }
    }
}

fn stderr_shown(stderr: Option<&str>) -> String {
    match stderr {
        Some(text) => format!(": {text}"),
        None => "; it said nothing on standard error".to_owned(),
    }
}

/// Starts the command. `program` is what [`lookup`] has found; without one, the error is the system's.
fn start(command: &config::Command, program: Option<PathBuf>) -> io::Result<Child> {
    let mut process = match command.files() {
        Some(files) => confined::command(&command.path, command.args(), files),
        None => {
            // The system would search `PATH` again, with its relative directories.
            let by_path = || command.path.contains('/').then(|| PathBuf::from(&command.path));
            let program = program.or_else(by_path).ok_or(io::ErrorKind::NotFound)?;
            let mut process = std::process::Command::new(program);
            process.arg0(&command.path).args(command.args());
            process
        }
    };
    if let Environment::Named(names) = command.environment() {
        let passed = names.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        process.env_clear().envs(passed);
    }
    process
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The command has its own process group, so that the processes that it starts can be killed
        // with it.
        .process_group(0);
    tokio::process::Command::from(process).kill_on_drop(true).spawn()
}

/// Why there is no answer.
enum Fault {
    Flood,
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Waits until the exchange is to end: the decoder was killed (see `main.rs` of the broker), or the
/// caller of `keycell` interrupted it. The provider has its own process group, so it does not get the
/// signal.
async fn asked_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Writes the request and reads both outputs to their ends at the same time: a provider may answer
/// before it has read everything, and a full pipe must not block it. The process is waited for only
/// afterwards, so that its process identifier stays valid until then, even if it has ended.
async fn talk(
    child: &mut Child,
    request: &[u8],
    stderr: &RefCell<StderrExcerpt>,
) -> Result<(Zeroizing<Vec<u8>>, ExitStatus), Fault> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let collected = collect_stderr(child.stderr.take(), stderr);
    let (_, answer, _) = tokio::try_join!(write(stdin, request), read(stdout), collected)?;
    Ok((answer, child.wait().await?))
}

async fn write(stdin: Option<ChildStdin>, request: &[u8]) -> Result<(), Fault> {
    if let Some(mut stdin) = stdin {
        // A provider that does not read everything is judged by its answer, as with Go.
        let _ = stdin.write_all(request).await;
    }
    Ok(())
}

async fn read(stdout: Option<ChildStdout>) -> Result<Zeroizing<Vec<u8>>, Fault> {
    // The capacity is that of the longest answer: a growing vector would leave copies of a secret
    // behind.
    let mut answer = Zeroizing::new(Vec::with_capacity(MAX_ANSWER + 1));
    if let Some(stdout) = stdout {
        stdout.take(MAX_ANSWER as u64 + 1).read_to_end(&mut answer).await?;
    }
    if answer.len() > MAX_ANSWER { Err(Fault::Flood) } else { Ok(answer) }
}

/// Keeps an excerpt, and reads the rest only so that the provider can go on.
async fn collect_stderr(
    stderr: Option<ChildStderr>,
    excerpt: &RefCell<StderrExcerpt>,
) -> Result<(), Fault> {
    let Some(mut stderr) = stderr else { return Ok(()) };
    let mut buffer = [0; 4096];
    loop {
        let count = stderr.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        excerpt.borrow_mut().push(&buffer[..count]);
    }
}

/// Kills a process that has not ended, with everything that it has started and that has not left its
/// process group, and waits for it.
async fn kill(child: &mut Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = id {
        // It does not matter if it has just ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = timeout(KILL_TIMEOUT, child.wait()).await;
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}
