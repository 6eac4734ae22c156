//! The operator's log. It exists because containerd drops standard error when it sees a stream end
//! early, and never shows the standard error of a decoder that succeeded.
//!
//! The log is opened before any guest code runs, and from then on it is only written to. A logging
//! failure never fails a layer: if a file cannot be opened, the journal or the system's log gets a note
//! about that, and the events.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use keycell_core::lock;
use keycell_core::sanitize::sanitize;
use keycell_diagnostic::os_error;
use keycell_settings::Destination;
use rustix::io::Errno;

use super::event::{Event, Layer, Verdict};

/// The socket of journald.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The socket of the system's log (syslog(3)).
const SYSLOG: &str = "/dev/log";

/// Facility `daemon` (RFC 5424, section 6.2.1).
const FACILITY: u8 = 3;

/// The longest time for which a log that accepts no event may delay a layer.
const PATIENCE: Duration = Duration::from_millis(200);

/// Whether the event of the layer was written, and which.
static SETTLED: AtomicU8 = AtomicU8::new(OPEN);
const OPEN: u8 = 0;
const FAILED: u8 = 1;
const DECRYPTED: u8 = 2;

/// Claims the one event of the layer, and returns whether it was still to be written.
pub fn settle(is_decrypted: bool) -> bool {
    let settled = if is_decrypted { DECRYPTED } else { FAILED };
    SETTLED.compare_exchange(OPEN, settled, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Whether the event reports that the layer was decrypted: then the process is about to end by itself.
pub fn is_decrypted() -> bool {
    SETTLED.load(Ordering::Acquire) == DECRYPTED
}

/// An open log, and what its event will contain about the layer.
pub struct Log {
    /// None: nothing is logged.
    sink: Option<(Format, OwnedFd)>,
    /// The file that the operator named; empty if none was named.
    file: PathBuf,
    /// The log did not accept an event. Further events are dropped, since each one would cost a delay.
    is_broken: AtomicBool,
    started: Instant,
    layer: Mutex<Layer>,
}

#[derive(Clone, Copy)]
enum Format {
    Journal,
    Syslog,
    Lines,
}

impl Log {
    /// Opens the log. `started` is the time at which the work on the layer began.
    ///
    /// # Ambient Authority
    /// Creates and opens a file, or connects a socket.
    pub fn open(destination: &Destination, started: Instant) -> Self {
        let mut refusal = None;
        let sink = match destination {
            Destination::System => system(),
            Destination::Journal => journal().ok(),
            Destination::Syslog => syslog().ok(),
            Destination::File(path) => append(path).map_or_else(
                |error| {
                    refusal = Some(cannot_be_written(path, &error));
                    system()
                },
                Some,
            ),
            Destination::Off => None,
        };
        let file = match destination {
            Destination::File(path) => path.clone(),
            _ => PathBuf::new(),
        };
        let log = Self { sink, file, is_broken: false.into(), started, layer: Mutex::default() };
        refusal.iter().for_each(|text| log.note(text));
        log
    }

    /// The descriptor that the log is written to.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.sink.as_ref().map(|(_, descriptor)| descriptor.as_fd())
    }

    /// Whether it is a file that the operator named.
    pub fn is_file(&self) -> bool {
        matches!(self.sink, Some((Format::Lines, _)))
    }

    /// Where to read the log, for a message. None if nothing is logged.
    pub fn location(&self) -> Option<String> {
        let (format, _) = self.sink.as_ref()?;
        Some(match (format, &self.file) {
            (Format::Journal, _) => "the journal, `journalctl -t ctd-decoder`".to_owned(),
            (Format::Syslog, _) => "the system's log, under `ctd-decoder`".to_owned(),
            (Format::Lines, file) => format!("`{}`", file.display()),
        })
    }

    /// What the event will contain about the layer.
    pub fn layer(&self) -> MutexGuard<'_, Layer> {
        lock(&self.layer)
    }

    /// Writes a note. `text` is already sanitized.
    pub fn note(&self, text: &str) {
        if self.is_broken.load(Ordering::Relaxed) || text.trim().is_empty() {
            return;
        }
        if let Some((format, _)) = &self.sink {
            self.write(&format.entry(&Event::note(text)));
        }
    }

    /// Writes the event of the layer: how it ended. There is only one: later ones are not written.
    pub fn end(&self, verdict: &Verdict) {
        let after = Some(self.started.elapsed());
        let event = match self.layer.try_lock() {
            Ok(layer) => layer.event(verdict, after),
            Err(_) => Layer::default().event(verdict, after), // a change of it panicked
        };
        let entry = self.sink.as_ref().map(|(format, _)| format.entry(&event));
        if settle(matches!(verdict, Verdict::Decrypted)) {
            self.write(entry.as_deref().unwrap_or_default());
        }
    }

    /// What [`Log::end`] would write for `verdict`. It is for a signal handler, which must not
    /// allocate.
    pub fn prepared(&self, verdict: &Verdict) -> Option<Vec<u8>> {
        let (format, _) = self.sink.as_ref()?;
        Some(format.entry(&self.layer().event(verdict, None)))
    }

    /// Writes each event with one call, so that it is not mixed with events of other processes.
    fn write(&self, entry: &[u8]) {
        let Some((_, descriptor)) = &self.sink else { return };
        let mut written = rustix::io::write(descriptor, entry);
        if written == Err(Errno::INTR) {
            written = rustix::io::write(descriptor, entry);
        }
        self.is_broken.store(written.is_err(), Ordering::Relaxed); // a failure to log cannot be reported anywhere
    }
}

impl Format {
    fn entry(self, event: &Event) -> Vec<u8> {
        match self {
            Self::Journal => event.journal(),
            Self::Syslog => {
                let (priority, pid) = (FACILITY << 3 | event.severity, std::process::id());
                format!("<{priority}>ctd-decoder[{pid}]: {}", event.json()).into_bytes()
            }
            Self::Lines => (event.json() + "\n").into_bytes(),
        }
    }
}

fn system() -> Option<(Format, OwnedFd)> {
    journal().or_else(|_| syslog()).ok()
}

fn journal() -> io::Result<(Format, OwnedFd)> {
    Ok((Format::Journal, connect(JOURNAL)?))
}

fn syslog() -> io::Result<(Format, OwnedFd)> {
    Ok((Format::Syslog, connect(SYSLOG)?))
}

fn append(path: &Path) -> io::Result<(Format, OwnedFd)> {
    let mut options = OpenOptions::new();
    // Opening a pipe without a reader would block. With a symbolic link in place of the file, its author
    // would choose where the program writes. Links among the directories belong to the operator.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    options.append(true).create(true).mode(0o640).custom_flags(flags);
    Ok((Format::Lines, options.open(path)?.into()))
}

fn cannot_be_written(path: &Path, error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::ELOOP) => "it is a symbolic link".to_owned(),
        _ => os_error(error),
    };
    format!("the log `{}` cannot be opened: {}", sanitize(&path.display().to_string()), why)
}

fn connect(path: &str) -> io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}
