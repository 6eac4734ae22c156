//! Reports the end of the process if it does not return from `main`: a signal, a panic, a lack of
//! memory, or a step that does not end.
//!
//! A signal handler must not allocate, so its events are prepared: first when the log is opened, and
//! again when it is known whose layer it is. Only the number of the signal and the time are filled in
//! at the end.
//!
//! Only `SIGKILL`, which no process can handle, ends the decoder without an event.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::unix::caller_limits;
use crate::unix::hold_stdout::hold_stdout;
use crate::unix::signals::{self, Reason};

use super::event::Verdict;
use super::log::{self, Log};
use super::stderr;

/// Why the process ends.
#[derive(Clone, Copy)]
pub enum Cause {
    /// A signal that asks the process to end.
    Terminated,
    /// A signal that a bug or a limit raised.
    Crashed,
    /// No memory is left.
    OutOfMemory,
    /// A step takes too long, in a system call, where no guest can be stopped.
    Late,
}

impl Cause {
    const ALL: [Self; 4] = [Self::Terminated, Self::Crashed, Self::OutOfMemory, Self::Late];

    /// The error and its hint, with [`SIGNAL`] in place of a signal's number.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Terminated => (
                "ended by signal \u{80} before the whole layer was written",
                "containerd, its service or whoever else stops processes sent it: pull the image \
                 again",
            ),
            Self::Crashed if caller_limits::can_crash() => (
                "the decoder was ended by signal \u{80}",
                "a limit of containerd's service is low: signal 24 is its `LimitCPU`, and 11 its \
                 `LimitSTACK`: raise it, or remove it",
            ),
            Self::Crashed => (
                "the decoder crashed with signal \u{80}",
                "please report this with the number, since it is a bug",
            ),
            Self::OutOfMemory => (
                "out of memory",
                "`MemoryMax`, `LimitAS` and `LimitDATA` of containerd's service, or the node \
                 itself, leave the decoder too little",
            ),
            Self::Late => (
                "a step of the guest did not end in time",
                "is the keys directory on a drive that does not answer? if not, please report this, \
                 since it is a bug",
            ),
        }
    }

    fn verdict(self) -> Verdict {
        let (error, hint) = self.text();
        let (error, hints) = (error.to_owned(), vec![hint.to_owned()]);
        match self {
            Self::Terminated => Verdict::Terminated { error, hints },
            _ => Verdict::Failed { error, hints },
        }
    }
}

/// A placeholder for the number of the signal, which has the same length in bytes. It is a control
/// character, which no text of a guest or a payload in an event contains.
const SIGNAL: [u8; 2] = [0xc2, 0x80];

/// The buffer for an event, in bytes. Events need less than half of it.
const MAX_EVENT: usize = 16 * 1024;

/// The log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

/// The events of [`Cause::ALL`]: first with what was known at the start, then with what is known of the
/// layer.
static PREPARED: [OnceLock<[Vec<u8>; 4]>; 2] = [OnceLock::new(), OnceLock::new()];

/// Logs to `log` every way in which the process ends from now on.
pub fn watch(log: Log) -> &'static Log {
    let log = LOG.get_or_init(|| log);
    log.layer().starts();
    prepare(0);
    log
}

/// Prepares the events again, with what is now known of the layer.
pub fn layer_is_known() {
    prepare(1);
}

fn prepare(stage: usize) {
    if let Some(log) = LOG.get() {
        let events = Cause::ALL.map(|cause| log.prepared(&cause.verdict()).unwrap_or_default());
        let _ = PREPARED[stage].set(events);
    }
}

/// Reports the cause, and ends the process. Async-signal-safe.
pub fn end(cause: Cause, signal: i32) -> ! {
    if log::settle(false) {
        write_event(cause, signal);
        let mut text = [0; 1024];
        let text = fill_message(cause, &mut text);
        fill_in(text, signal);
        let _ = rustix::io::write(rustix::stdio::stderr(), text);
    }
    hold_stdout();
    signals::exit()
}

/// Fills in the message for standard error without allocating.
fn fill_message(cause: Cause, text: &mut [u8; 1024]) -> &mut [u8] {
    let (error, hint) = cause.text();
    let mut length = 0;
    for part in ["ctd-decoder: error: ", error, "\nhint: ", hint, "\n"] {
        text[length..length + part.len()].copy_from_slice(part.as_bytes());
        length += part.len();
    }
    &mut text[..length]
}

/// The handler for signals.
pub fn on_signal(reason: Reason, signal: i32) {
    match reason {
        Reason::Terminated if log::is_decrypted() => {} // the process is about to end by itself
        Reason::Terminated => end(Cause::Terminated, signal),
        Reason::Crashed => end(Cause::Crashed, signal),
    }
}

/// The handler for a failed allocation.
pub fn out_of_memory() {
    end(Cause::OutOfMemory, 0)
}

/// Reports a panic as one error line and an event, without a backtrace, which would open files.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        // Only the name is used: the directory is that of the machine that built this.
        let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let place = panic.location();
        let place = place.map(|place| format!(" in `{}:{}`", file(place.file()), place.line()));
        let error = format!("internal error{}", place.unwrap_or_default());
        let hint = "please report this: it is a bug".to_owned();
        stderr::say(&panicked(error, hint));
        hold_stdout();
        signals::exit()
    }));
}

/// Writes the event of a panic, and returns the message.
fn panicked(error: String, hint: String) -> String {
    let text = format!("ctd-decoder: error: {error}\nhint: {hint}\n");
    if let Some(log) = LOG.get() {
        log.end(&Verdict::Failed { error, hints: vec![hint] });
    }
    text
}

fn write_event(cause: Cause, signal: i32) {
    let known = PREPARED[1].get().or_else(|| PREPARED[0].get());
    let descriptor = LOG.get().and_then(Log::descriptor);
    let (Some(events), Some(descriptor)) = (known, descriptor) else { return };
    let event = events[cause as usize].as_slice();
    let mut copy = [0; MAX_EVENT];
    let Some(copy) = copy.get_mut(..event.len()) else { return };
    copy.copy_from_slice(event);
    fill_in(copy, signal);
    let _ = rustix::io::write(descriptor, copy);
}

/// Replaces the placeholders for the number of the signal and for the time.
fn fill_in(text: &mut [u8], signal: i32) {
    let (tens, ones) = ((signal / 10 % 10) as u8, (signal % 10) as u8);
    let number = [if tens == 0 { b' ' } else { b'0' + tens }, b'0' + ones];
    for at in 0..text.len().saturating_sub(1) {
        if text[at..at + 2] == SIGNAL {
            text[at..at + 2].copy_from_slice(&number);
        }
    }
    const TIME: &[u8] = b"{\"time\":\"";
    const LENGTH: usize = "2026-11-30T00:00:00.000Z".len();
    let found = text.windows(TIME.len()).position(|part| part == TIME);
    if let Some(place) = found.and_then(|at| text[at + TIME.len()..].get_mut(..LENGTH)) {
        // This formatter has its own buffer, and allocates nothing.
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let _ = write!(&mut place[..], "{now}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, signal: i32) -> String {
        let mut text = text.as_bytes().to_vec();
        fill_in(&mut text, signal);
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn the_number_takes_the_place_of_its_mark() {
        assert_eq!(filled("signal \u{80}, \u{80}", 15), "signal 15, 15");
        assert_eq!(filled("signal \u{80}", 6), "signal  6");
        assert_eq!(filled("\u{80}", 64), "64");
        assert_eq!(filled("no mark \u{c2}", 1), "no mark \u{c2}");
    }

    #[test]
    fn the_time_is_that_of_the_end() {
        let text = "<27>ctd-decoder[7]: {\"time\":\"1970-01-01T00:00:00.000Z\",\"pid\":7}";
        let filled = filled(text, 0);
        assert!(filled.starts_with("<27>ctd-decoder[7]: {\"time\":\"20"), "{filled}");
        assert!(filled.ends_with("Z\",\"pid\":7}") && filled.len() == text.len(), "{filled}");
    }

    #[test]
    fn every_message_is_an_error_and_a_hint() {
        for cause in Cause::ALL {
            let mut text = [0; 1024];
            let text = String::from_utf8(fill_message(cause, &mut text).to_vec()).expect("UTF-8");
            let (error, hint) = cause.text();
            assert_eq!(text, format!("ctd-decoder: error: {error}\nhint: {hint}\n"));
        }
    }
}
