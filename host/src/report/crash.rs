//! What is told when the process ends in any other way than by returning from `main`: a signal, a
//! panic, a lack of memory, a step that does not end.
//!
//! A signal handler must not allocate, so its message and its event are put together beforehand:
//! once when the log was opened, and again when it is known whose layer it is. Only the number of
//! the signal and the time are filled in at the end.
//!
//! `SIGKILL` alone, which no process sees, ends the decoder without an event.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use crate::event::Verdict;
use crate::linger::hold_stdout;
use crate::log::Log;
use crate::{message, signals};

/// Why the process ends.
#[derive(Clone, Copy)]
pub enum Cause {
    /// A signal that asks for it.
    Terminated,
    /// A signal that a bug raised, or a limit.
    Crashed,
    /// No memory is left.
    OutOfMemory,
    /// A step takes too long, in a system call where no guest can be stopped.
    Late,
}

impl Cause {
    const ALL: [Self; 4] = [Self::Terminated, Self::Crashed, Self::OutOfMemory, Self::Late];

    /// What standard error says, with [`SIGNAL`] in the place of a signal's number.
    const fn text(self) -> &'static str {
        match self {
            Self::Terminated => {
                "ctd-decoder: error: ended by signal \u{80} before the whole layer was written\n\
                 hint: containerd, its service or whoever else stops processes sent it: pull the \
                 image again\n"
            }
            Self::Crashed => {
                "ctd-decoder: error: the decoder crashed with signal \u{80}\n\
                 hint: please report this with the number, since it is a bug; unless a limit of \
                 containerd's service is too low: 24 is `LimitCPU`, and 11 may be `LimitSTACK`\n"
            }
            Self::OutOfMemory => {
                "ctd-decoder: error: out of memory\n\
                 hint: `MemoryMax`, `LimitAS` and `LimitDATA` of containerd's service, or the node \
                 itself, leave the decoder too little\n"
            }
            Self::Late => {
                "ctd-decoder: error: a step of the guest did not end in time\n\
                 hint: is the keys directory on a drive that does not answer?\n"
            }
        }
    }

    fn verdict(self) -> Verdict {
        match (self, Verdict::said(self.text())) {
            (Self::Terminated, Verdict::Failed { error, hints }) => {
                Verdict::Terminated { error, hints }
            }
            (_, verdict) => verdict,
        }
    }
}

/// Stands for the number of the signal, which takes its place in as many bytes. A control character:
/// no text of a guest or a payload that gets into an event has one.
const SIGNAL: [u8; 2] = [0xc2, 0x80];

/// An event has less than half of this.
const MAX_EVENT: usize = 16 * 1024;

/// The log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

/// The events of [`Cause::ALL`]: what was known at first, and what is known of the layer.
static FORESEEN: [OnceLock<[Vec<u8>; 4]>; 2] = [OnceLock::new(), OnceLock::new()];

/// Whether the event of the layer was written, and which.
static SETTLED: AtomicU8 = AtomicU8::new(OPEN);
const OPEN: u8 = 0;
const FAILED: u8 = 1;
const DONE: u8 = 2;

/// From now on whatever ends the process is logged to `log`.
pub fn watch(log: Log) -> &'static Log {
    let log = LOG.get_or_init(|| log);
    log.layer().starts();
    foresee(0);
    log
}

/// What the log knows of the layer by now is told too.
pub fn layer_is_known() {
    foresee(1);
}

fn foresee(stage: usize) {
    if let Some(log) = LOG.get() {
        let events = Cause::ALL.map(|cause| log.foreseen(&cause.verdict()).unwrap_or_default());
        let _ = FORESEEN[stage].set(events);
    }
}

/// Whether the event of the layer is still to be written: it is from now on not.
pub fn settle(is_decrypted: bool) -> bool {
    let settled = if is_decrypted { DONE } else { FAILED };
    SETTLED.compare_exchange(OPEN, settled, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Whether the layer came out whole, and the process is about to end by itself.
pub fn is_done() -> bool {
    SETTLED.load(Ordering::Acquire) == DONE
}

/// Tells why, and ends the process. Async-signal-safe.
pub fn end(cause: Cause, signal: i32) -> ! {
    if settle(false) {
        write_event(cause, signal);
        let mut text = [0; 1024];
        let said = cause.text().as_bytes();
        let text = &mut text[..said.len()];
        text.copy_from_slice(said);
        fill_in(text, signal);
        let _ = rustix::io::write(rustix::stdio::stderr(), text);
    }
    hold_stdout();
    signals::exit()
}

/// For the allocator.
pub fn out_of_memory() {
    end(Cause::OutOfMemory, 0)
}

/// Tells of a panic, whose message has its hint too, and ends the process.
pub fn panicked(text: &str) -> ! {
    if let Some(log) = LOG.get() {
        log.end(&Verdict::said(text));
    }
    message::say(text);
    hold_stdout();
    signals::exit()
}

fn write_event(cause: Cause, signal: i32) {
    let known = FORESEEN[1].get().or_else(|| FORESEEN[0].get());
    let descriptor = LOG.get().and_then(Log::descriptor);
    let (Some(events), Some(descriptor)) = (known, descriptor) else { return };
    let event = events[cause as usize].as_slice();
    let mut copy = [0; MAX_EVENT];
    let Some(copy) = copy.get_mut(..event.len()) else { return };
    copy.copy_from_slice(event);
    fill_in(copy, signal);
    let _ = rustix::io::write(descriptor, copy);
}

/// The number of the signal, and the time, in the place of what was foreseen.
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
        // It has a buffer of its own, and allocates nothing.
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
            assert!(cause.text().len() < 1024);
            let said = match cause.verdict() {
                Verdict::Failed { error, hints } | Verdict::Terminated { error, hints } => {
                    (error, hints)
                }
                _ => panic!("neither"),
            };
            assert!(!said.0.is_empty() && said.1.len() == 1 && !said.1[0].is_empty(), "{said:?}");
        }
    }
}
