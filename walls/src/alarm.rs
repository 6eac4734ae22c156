//! What is said when a system call was stopped.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// The descriptor of the log; negative: none.
static LOG: AtomicI32 = AtomicI32::new(-1);
/// What is done last.
static FAREWELL: OnceLock<fn()> = OnceLock::new();

const BEFORE: &[u8] = b"ctd-decoder: error: the system call ";
const AFTER: &[u8] = b" was stopped, which decrypting a layer never makes\n\
    hint: an image or a guest may have attacked this node: keep the image, and report this with \
    the number; if it happens with every image, the number is what this system's C library needs \
    more than others\n";

/// From now on a system call that a filter stops is told on standard error, and in `log`, before
/// `farewell` is called, which must be async-signal-safe, and the process exits with 1. To be
/// called before the filters are put up; they forbid to change it.
///
/// # Errors
/// Where the system refuses a signal handler.
#[expect(unsafe_code, reason = "a signal handler")]
pub fn install(log: Option<BorrowedFd<'_>>, farewell: fn()) -> std::io::Result<()> {
    let _ = FAREWELL.set(farewell);
    LOG.store(log.map_or(-1, |log| log.as_raw_fd()), Ordering::Relaxed);
    // SAFETY: `action` and `signals` are made of integers and pointers for which zero is valid,
    // and are set up before they are used; the calls only read them. `stopped` does nothing but
    // what signal-safety(7) allows.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *const libc::siginfo_t, *const libc::c_void) =
            stopped;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // A caller may have blocked it: the kernel would then kill without a word.
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGSYS);
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()) != 0
            || libc::sigprocmask(libc::SIG_UNBLOCK, &signals, std::ptr::null_mut()) != 0
    };
    if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// The start of `siginfo_t` for `SIGSYS` on 64-bit Linux (sigaction(2)): not in the crate `libc`.
#[repr(C)]
struct Stopped {
    signal: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    address: *const libc::c_void,
    call: libc::c_int,
    arch: libc::c_uint,
}

/// The signal handler: `write` and `_exit`.
#[expect(unsafe_code, reason = "`write` and `_exit`, the only ways out of a signal handler")]
extern "C" fn stopped(_: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a whole `siginfo_t`, which is longer.
    let call = unsafe { (*info.cast::<Stopped>()).call };
    let mut text = [0; 640];
    let length = message(call.cast_unsigned(), &mut text);
    // SAFETY: `write` is async-signal-safe; the buffer lives on this stack.
    unsafe {
        libc::write(2, text.as_ptr().cast(), length);
        let log = LOG.load(Ordering::Relaxed);
        if log >= 0 {
            libc::write(log, text.as_ptr().cast(), length);
        }
    }
    if let Some(farewell) = FAREWELL.get() {
        farewell();
    }
    // SAFETY: async-signal-safe, and does not return.
    unsafe { libc::_exit(1) }
}

/// Puts the message together without allocating, and returns its length.
fn message(call: u32, text: &mut [u8; 640]) -> usize {
    let mut length = 0;
    let mut push = |bytes: &[u8]| {
        for (to, from) in text.iter_mut().skip(length).zip(bytes) {
            *to = *from;
            length += 1;
        }
    };
    push(BEFORE);
    let mut power = 1_000_000_000;
    while power > 1 && call / power == 0 {
        power /= 10;
    }
    while power > 0 {
        push(&[b'0' + (call / power % 10) as u8]);
        power /= 10;
    }
    push(AFTER);
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_number_and_a_way_out() {
        for (call, number) in
            [(0, "0"), (7, "7"), (41, "41"), (435, "435"), (u32::MAX, "4294967295")]
        {
            let mut text = [0; 640];
            let length = message(call, &mut text);
            let text = String::from_utf8_lossy(&text[..length]).into_owned();
            assert!(text.contains(&format!("the system call {number} was stopped")), "{text}");
            assert!(text.ends_with("than others\n"), "cut off: {text}");
        }
    }
}
