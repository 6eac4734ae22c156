//! Deadlines: a timer interrupts a guest without a thread.
//!
//! Once a second, a signal advances the epoch that the compiled code of installed guests compares at every
//! loop and call. The embedded guest's does not, and neither does a system call (for example on a key
//! directory of a dead network drive), whether a guest asked for the call or the host makes it before any
//! guest runs. So the same signal ends the whole process if a step has not ended some seconds after its
//! deadline. Only calls that wait for the payload or for the layer's streams may take as long as the registry
//! does.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::Engine;

use crate::report::crash::{self, Cause};

/// Seconds after the deadline at which the signal handler ends the process.
const GRACE: u64 = 5;

static ENGINE: OnceLock<Engine> = OnceLock::new();
/// Seconds that the step has; zero: no limit.
static GRANTED: AtomicU64 = AtomicU64::new(0);
/// Seconds until the process is ended; zero: never.
static LAST_RESORT: AtomicU64 = AtomicU64::new(0);

/// Starts the timer.
///
/// # Errors
/// The system refuses a signal handler or a timer.
pub fn start() -> std::io::Result<()> {
    install()
}

/// Makes the epoch of `engine` advance every second from now on. There is only one engine.
pub fn advance(engine: &Engine) {
    let _ = ENGINE.set(engine.clone());
}

/// Ends the process if [`disarm`] is not called within `seconds` and a grace period.
pub fn arm(seconds: u64) {
    GRANTED.store(seconds + GRACE, Ordering::Relaxed);
    LAST_RESORT.store(seconds + GRACE, Ordering::Relaxed);
}

/// Cancels [`arm`].
pub fn disarm() {
    GRANTED.store(0, Ordering::Relaxed);
    LAST_RESORT.store(0, Ordering::Relaxed);
}

/// Waits for a stream of the layer, without a limit. Afterwards the step has its full time again.
pub fn without<T>(wait: impl FnOnce() -> T) -> T {
    LAST_RESORT.store(0, Ordering::Relaxed);
    let waited = wait();
    LAST_RESORT.store(GRANTED.load(Ordering::Relaxed), Ordering::Relaxed);
    waited
}

#[expect(
    unsafe_code,
    reason = "a signal handler and a timer; no crate that is built here has both"
)]
fn install() -> std::io::Result<()> {
    let second = libc::timeval { tv_sec: 1, tv_usec: 0 };
    let every_second = libc::itimerval { it_interval: second, it_value: second };
    // SAFETY: `action` is zeroed, which is a valid `sigaction` without flags or masked signals, before
    // its handler, flags and mask are set. Both calls only read the values behind their pointers.
    // `tick` does only what signal-safety(7) allows.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tick as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigfillset(&mut action.sa_mask); // so that no other signal interrupts its message
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) != 0
            || libc::setitimer(libc::ITIMER_REAL, &every_second, std::ptr::null_mut()) != 0
    };
    if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// The signal handler: it changes atomics and, at the last resort, writes a message.
extern "C" fn tick(_signal: libc::c_int) {
    if let Some(engine) = ENGINE.get() {
        engine.increment_epoch(); // documented as safe in a signal handler
    }
    match LAST_RESORT.load(Ordering::Relaxed) {
        0 => {}
        1 => crash::end(Cause::Late, 0),
        left => LAST_RESORT.store(left - 1, Ordering::Relaxed),
    }
}
