//! The operator's log, because containerd drops standard error when it sees a stream end early and
//! never shows that of a decoder that succeeded.
//!
//! It is opened before any guest code runs, and from then on only written to. A log that cannot be
//! opened or written to must not keep a layer from being decrypted.

use std::cell::{Cell, RefCell, RefMut};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::args::Destination;
use crate::event::{Event, Layer, Verdict};

/// The socket of journald.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The socket of the system's log (syslog(3)).
const SYSLOG: &str = "/dev/log";

/// Facility `daemon` (RFC 5424, section 6.2.1).
const FACILITY: u8 = 3;

/// How long a log may keep a layer waiting that does not take an event.
const PATIENCE: Duration = Duration::from_millis(200);

/// An open log, and what it will say of the layer.
pub struct Log {
    /// None: nowhere.
    sink: Option<(Format, OwnedFd)>,
    /// It did not take an event: what else there is to say is not worth the wait.
    is_broken: Cell<bool>,
    started: Instant,
    layer: RefCell<Layer>,
}

#[derive(Clone, Copy)]
enum Format {
    Journal,
    Syslog,
    Lines,
}

impl Log {
    /// Opens the log. `started` is when the work on the layer has begun.
    ///
    /// # Ambient Authority
    /// Opens a file, which it creates, or connects a socket.
    pub fn open(destination: &Destination, started: Instant) -> Self {
        let sink = match destination {
            Destination::System => journal().or_else(|_| syslog()).ok(),
            Destination::Journal => journal().ok(),
            Destination::Syslog => syslog().ok(),
            Destination::File(path) => append(path).ok(),
            Destination::Off => None,
        };
        Self { sink, is_broken: Cell::new(false), started, layer: RefCell::default() }
    }

    /// Where it is written to.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.sink.as_ref().map(|(_, descriptor)| descriptor.as_fd())
    }

    /// Whether it is a file that the operator named.
    pub fn is_file(&self) -> bool {
        matches!(self.sink, Some((Format::Lines, _)))
    }

    /// What the event will say of the layer.
    pub fn layer(&self) -> RefMut<'_, Layer> {
        self.layer.borrow_mut()
    }

    /// Something that was passed over. `text` is fit to be shown.
    pub fn note(&self, text: &str) {
        if !self.is_broken.get() && !text.trim().is_empty() {
            self.write(&Event::note(text));
        }
    }

    /// The event of the layer: how it ended.
    pub fn end(&self, verdict: &Verdict) {
        let event = self.layer().event(verdict, self.started.elapsed());
        self.write(&event);
    }

    /// What [`Log::end`] would write if it ended so `after` so long: for a signal handler, which must
    /// not put it together itself.
    pub fn foreseen(&self, verdict: &Verdict, after: Duration) -> Option<Vec<u8>> {
        let (format, _) = self.sink.as_ref()?;
        Some(format.entry(&self.layer().event(verdict, self.started.elapsed() + after)))
    }

    /// One write for each event, so that those of other processes do not get in between.
    fn write(&self, event: &Event) {
        let Some((format, descriptor)) = &self.sink else { return };
        let entry = format.entry(event);
        let mut written = rustix::io::write(descriptor, &entry);
        if written == Err(Errno::INTR) {
            written = rustix::io::write(descriptor, &entry);
        }
        self.is_broken.set(written.is_err()); // there is nobody left to tell
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

fn journal() -> io::Result<(Format, OwnedFd)> {
    Ok((Format::Journal, connect(JOURNAL)?))
}

fn syslog() -> io::Result<(Format, OwnedFd)> {
    Ok((Format::Syslog, connect(SYSLOG)?))
}

fn append(path: &Path) -> io::Result<(Format, OwnedFd)> {
    let mut options = OpenOptions::new();
    // A pipe that nobody reads would make the program wait.
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK);
    Ok((Format::Lines, options.open(path)?.into()))
}

fn connect(path: &str) -> io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}
