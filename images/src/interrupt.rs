//! What is removed when a signal ends the program.
//!
//! A signal ends it at any moment, but not while an image is published. A thread waits for signals, has
//! everything removed that is not complete, and lets the signal do what it does by default, so that the caller
//! sees which signal it was. `SIGKILL` cannot be waited for, and a crash of the program itself is not.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

type Removal = Box<dyn FnOnce() + Send>;

static PENDING: Mutex<Pending> = Mutex::new(Pending { next: 0, removals: BTreeMap::new() });

/// Held while an image is published, and forever once a signal ends the program.
static PUBLISHING: Mutex<()> = Mutex::new(());

struct Pending {
    next: u64,
    removals: BTreeMap<u64, Removal>,
}

/// Begins to wait for signals.
///
/// # Errors
/// The system has no thread left.
pub fn watch() -> io::Result<()> {
    // A file that becomes longer than `RLIMIT_FSIZE` allows is an error of the write, and not the end.
    flag::register(SIGXFSZ, Arc::default())?;
    let mut signals = Signals::new(watched())?;
    let watch = move || {
        for signal in &mut signals {
            let _never_released = pause();
            let removals = std::mem::take(&mut pending().removals);
            let (done, removed) = channel();
            let remove = move || {
                removals.into_values().rev().for_each(|removal| removal());
                let _ = done.send(());
            };
            // A registry that does not answer must not keep the program.
            if thread::Builder::new().spawn(remove).is_ok() {
                let _ = removed.recv_timeout(PATIENCE);
            }
            let _ = emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}

/// How long all removals together may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What ends a program by default, but for crashes.
const ENDING: [i32; 11] = [
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGUSR1, SIGUSR2, SIGIO,
];

/// The signals that end the program. One that is ignored, as `nohup` does it, stays so.
fn watched() -> impl Iterator<Item = i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    ENDING.into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// Something that is removed if a signal ends the program before this is dropped.
#[must_use]
pub struct OnSignal(u64);

impl OnSignal {
    /// `removal` is called from another thread, at most once. It should not take long.
    pub fn new(removal: impl FnOnce() + Send + 'static) -> Self {
        let mut pending = pending();
        pending.next += 1;
        let number = pending.next;
        pending.removals.insert(number, Box::new(removal));
        Self(number)
    }
}

impl Drop for OnSignal {
    fn drop(&mut self) {
        pending().removals.remove(&self.0);
    }
}

/// While this is there, a signal waits.
#[must_use]
pub struct Uninterrupted {
    _held: MutexGuard<'static, ()>,
}

/// Lets signals wait: what follows is short, and must be done as a whole.
pub fn pause() -> Uninterrupted {
    Uninterrupted { _held: PUBLISHING.lock().unwrap_or_else(PoisonError::into_inner) }
}

fn pending() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}
