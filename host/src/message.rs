//! The one place that speaks: standard error for containerd, and a log for the operator, because
//! containerd drops standard error when it sees a stream end early.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::ExitCode;

use crate::cleaned::{MAX_MESSAGE, cut};
use crate::contract::Failure;
use crate::linger;

pub use crate::cleaned::cleaned;

/// The longest error without its hints, in bytes: they must not be what is cut off.
const MAX_ERROR: usize = 3072;

/// The most hints: the longest list of ours has five.
const MAX_HINTS: usize = 8;

/// The system's log, a datagram socket (syslog(3), journald).
const SYSTEM_LOG: &str = "/dev/log";

/// Facility `daemon`, severity `error` (RFC 5424, section 6.2.1).
const PRIORITY: u8 = 3 << 3 | 3;

/// Where failures and skipped keys are remembered.
pub enum Log {
    /// The system's.
    System(UnixDatagram),
    /// A file that the operator named.
    File(File),
    /// There is none.
    Nowhere,
}

impl Log {
    /// Opens `file` for appending, or else the system's log. A log that cannot be opened must not
    /// keep a layer from being decrypted.
    pub fn open(file: Option<&Path>) -> Self {
        let opened = match file {
            // A pipe that nobody reads would make the program wait.
            Some(path) => {
                let mut options = OpenOptions::new();
                options.append(true).create(true).custom_flags(libc::O_NONBLOCK);
                options.open(path).map(Self::File)
            }
            None => UnixDatagram::unbound().and_then(|socket| {
                socket.connect(SYSTEM_LOG)?;
                socket.set_nonblocking(true)?;
                Ok(Self::System(socket))
            }),
        };
        opened.unwrap_or(Self::Nowhere)
    }

    /// Where it is written to.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::System(socket) => Some(socket.as_fd()),
            Self::File(file) => Some(file.as_fd()),
            Self::Nowhere => None,
        }
    }

    /// Whether it is a file that the operator named.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Remembers `text`, a line each.
    pub fn write(&self, text: &str) {
        for line in text.lines() {
            let pid = std::process::id();
            // A full or broken log is no reason to fail: there is nobody left to tell.
            let _ = match self {
                Self::System(socket) => {
                    socket.send(format!("<{PRIORITY}>ctd-decoder[{pid}]: {line}").as_bytes())
                }
                Self::File(file) => {
                    let mut file = file;
                    file.write(format!("ctd-decoder[{pid}]: {line}\n").as_bytes())
                }
                Self::Nowhere => Ok(0),
            };
        }
    }
}

/// Says why there is no layer, and how to mend it.
pub fn fail(failure: &Failure, log: Option<&Log>) -> ExitCode {
    let mut message = cleaned(&failure.message);
    if message.trim().is_empty() {
        message = "the guest failed and does not say why".to_owned();
    }
    cut(&mut message, MAX_ERROR);
    let mut text = format!("ctd-decoder: error: {message}\n");
    let hints = failure.hints.iter().map(|hint| cleaned(hint));
    for hint in hints.filter(|hint| !hint.trim().is_empty()).take(MAX_HINTS) {
        let _ = writeln!(text, "hint: {hint}");
    }
    cut(&mut text, MAX_MESSAGE);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    say(&text);
    if let Some(log) = log {
        log.write(&text);
        linger::hold_stdout();
    }
    ExitCode::FAILURE
}

/// Prints help or the version.
pub fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to standard error, which may be closed.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A bug of ours is one error line too, without a backtrace, which would open files.
pub fn speak_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        // The name alone: the directory is one of whoever built this.
        let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let place = panic.location();
        let place = place.map(|place| format!(" in `{}:{}`", file(place.file()), place.line()));
        say(&format!(
            "ctd-decoder: error: internal error{}\nhint: please report this: it is a bug\n",
            place.unwrap_or_default()
        ));
        std::process::exit(1);
    }));
}
