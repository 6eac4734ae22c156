//! Time: a timer that interrupts a guest, without a thread.
//!
//! Once a second a signal advances the epoch that compiled guest code compares at every loop and
//! call. A guest that waits inside a system call of the host's (a key directory on a dead network
//! drive) does not look at the epoch, so the same signal ends the whole process if the step is
//! still not over a good while after its deadline.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::Engine;

use crate::event::Verdict;
use crate::log::Log;

/// Seconds that the process gets beyond the deadline before it is ended from the signal handler.
const GRACE: u64 = 5;

static ENGINE: OnceLock<Engine> = OnceLock::new();
/// Seconds until the process is ended; zero: never.
static LAST_RESORT: AtomicU64 = AtomicU64::new(0);

/// What the log gets to know then, and its descriptor. Put together beforehand: a signal handler
/// must not allocate.
static LAST_EVENT: OnceLock<(RawFd, Vec<u8>)> = OnceLock::new();

const LAST_WORDS: &[u8] = b"ctd-decoder: error: a step of the guest did not end in time\n\
    hint: is the keys directory on a drive that does not answer?\n";

/// Starts the timer. From now on the epoch of `engine` advances every second.
///
/// # Errors
/// Where the system refuses a signal handler or a timer.
pub fn start(engine: &Engine) -> std::io::Result<()> {
    if ENGINE.set(engine.clone()).is_err() {
        return Ok(()); // one engine, one timer
    }
    install()
}

/// Ends the process if [`disarm`] is not called within `seconds` and a grace period. `log` is
/// written to then, and must stay open as long as the process runs.
pub fn arm(seconds: u64, log: &Log) {
    let verdict = Verdict::said(&String::from_utf8_lossy(LAST_WORDS));
    let foreseen = log.foreseen(&verdict, Duration::from_secs(seconds + GRACE));
    if let (Some(event), Some(log)) = (foreseen, log.descriptor()) {
        LAST_EVENT.get_or_init(|| (log.as_raw_fd(), event));
    }
    LAST_RESORT.store(seconds + GRACE, Ordering::Relaxed);
}

/// Takes [`arm`] back.
pub fn disarm() {
    LAST_RESORT.store(0, Ordering::Relaxed);
}

#[expect(
    unsafe_code,
    reason = "a signal handler and a timer; no crate that is built here has both"
)]
fn install() -> std::io::Result<()> {
    let second = libc::timeval { tv_sec: 1, tv_usec: 0 };
    let every_second = libc::itimerval { it_interval: second, it_value: second };
    // SAFETY: `action` is zeroed, which is a valid `sigaction` without flags or masked signals,
    // before its handler and flags are set; both calls only read what they are given. `tick` does
    // nothing but what signal-safety(7) allows.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tick as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) != 0
            || libc::setitimer(libc::ITIMER_REAL, &every_second, std::ptr::null_mut()) != 0
    };
    if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// The signal handler: atomics, and at the very end `write` and `_exit`.
#[expect(unsafe_code, reason = "`write` and `_exit`, the only ways out of a signal handler")]
extern "C" fn tick(_signal: libc::c_int) {
    if let Some(engine) = ENGINE.get() {
        engine.increment_epoch(); // documented as safe in a signal handler
    }
    let left = LAST_RESORT.load(Ordering::Relaxed);
    match left {
        0 => {}
        1 => {
            let (log, event) = LAST_EVENT.get().map_or((-1, &[][..]), |(log, event)| (*log, event));
            // SAFETY: both are async-signal-safe, and the buffers are static. A descriptor that is
            // not open is an error, which nobody could be told.
            unsafe {
                libc::write(2, LAST_WORDS.as_ptr().cast(), LAST_WORDS.len());
                libc::write(log, event.as_ptr().cast(), event.len());
                libc::_exit(1);
            }
        }
        _ => LAST_RESORT.store(left - 1, Ordering::Relaxed),
    }
}
