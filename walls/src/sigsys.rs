//! Reports a system call that a filter stopped.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;

use rustix::io::Errno;

/// The placeholder for the number of the system call in an [`Entry`].
pub const NUMBER: &str = "####";

/// The entry for the log.
pub struct Entry<'a> {
    /// Where the entry is written to.
    pub log: BorrowedFd<'a>,
    /// The entry in the log's own format. It is built in advance, because a signal handler must not
    /// allocate. It has at most 4 KiB.
    pub text: Vec<u8>,
}

static ENTRY: OnceLock<(RawFd, Vec<u8>)> = OnceLock::new();
/// A function that is called before the process exits.
static BEFORE_EXIT: OnceLock<fn()> = OnceLock::new();

const BEFORE: &str = "the system call ";
const AFTER: &str = " was stopped, which decrypting a layer never makes";
const HINT: &str = "an image or a guest may have attacked this node: keep the image, and report this \
    with the number; if it happens with every image, the number is what this system's C library needs \
    more than others";

/// The error and its hint, with [`NUMBER`] in place of the number.
pub fn texts() -> (String, &'static str) {
    ([BEFORE, NUMBER, AFTER].concat(), HINT)
}

/// From now on, a system call that a filter stops is reported on standard error and in a log. Then
/// `before_exit` is called, which must be async-signal-safe, and the process exits with 1. Call this
/// before the filters are put up, because they forbid changing the handler.
///
/// # Errors
/// The system refuses a signal handler.
#[expect(unsafe_code, reason = "a signal handler")]
pub fn install(entry: Option<Entry<'_>>, before_exit: fn()) -> rustix::io::Result<()> {
    let _ = BEFORE_EXIT.set(before_exit);
    if let Some(Entry { log, text }) = entry {
        let _ = ENTRY.set((log.as_raw_fd(), text));
    }
    // SAFETY: `action` and `signals` consist of integers and pointers for which zero is valid, and are
    // set up before they are used; the calls only read them. `stopped` does only what signal-safety(7)
    // allows.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *const libc::siginfo_t, *const libc::c_void) =
            stopped;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigfillset(&mut action.sa_mask); // so that no other signal interrupts its message
        // A caller may have blocked the signal: then the kernel would kill the process without a
        // message.
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGSYS);
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()) != 0
            || libc::sigprocmask(libc::SIG_UNBLOCK, &signals, std::ptr::null_mut()) != 0
    };
    if failed { Err(last_error()) } else { Ok(()) }
}

/// The error of the last call of the C library.
pub(crate) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// The start of `siginfo_t` for `SIGSYS` on 64-bit Linux (sigaction(2)), which the crate `libc` does
/// not have.
#[repr(C)]
struct Stopped {
    signal: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    address: *const libc::c_void,
    call: libc::c_int,
    arch: libc::c_uint,
}

/// The signal handler. It calls only `write`, the function before the exit, and `_exit`.
#[expect(unsafe_code, reason = "`write` and `_exit`, the only ways out of a signal handler")]
extern "C" fn stopped(_: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a whole `siginfo_t`, which is longer than `Stopped`.
    let call = unsafe { (*info.cast::<Stopped>()).call };
    let mut text = [0; 640];
    let length = message(call.cast_unsigned(), &mut text);
    // SAFETY: `write` is async-signal-safe; the buffers are on this stack.
    unsafe {
        libc::write(2, text.as_ptr().cast(), length);
        if let Some((log, entry)) = ENTRY.get() {
            let mut text = [0; 4096];
            let length = numbered(entry, call.cast_unsigned(), &mut text);
            libc::write(*log, text.as_ptr().cast(), length);
        }
    }
    if let Some(before_exit) = BEFORE_EXIT.get() {
        before_exit();
    }
    // SAFETY: the call is async-signal-safe and does not return.
    unsafe { libc::_exit(1) }
}

/// Copies an entry with `call` in place of each [`NUMBER`]. It has the same number of digits, so that
/// lengths inside the entry stay correct. Returns the length of the entry.
fn numbered(entry: &[u8], call: u32, text: &mut [u8; 4096]) -> usize {
    let Some(text) = text.get_mut(..entry.len()) else { return 0 };
    text.copy_from_slice(entry);
    let call = call.min(9999);
    let digits = [1000, 100, 10, 1].map(|power| b'0' + (call / power % 10) as u8);
    let mut at = 0;
    while let Some(place) = text.get_mut(at..at + NUMBER.len()) {
        if *place == *NUMBER.as_bytes() {
            place.copy_from_slice(&digits);
        }
        at += 1;
    }
    entry.len()
}

/// Builds the message without allocating, and returns its length.
fn message(call: u32, text: &mut [u8; 640]) -> usize {
    let mut length = 0;
    let mut push = |bytes: &[u8]| {
        for (to, from) in text.iter_mut().skip(length).zip(bytes) {
            *to = *from;
            length += 1;
        }
    };
    push(b"ctd-decoder: error: ");
    push(BEFORE.as_bytes());
    let mut power = 1_000_000_000;
    while power > 1 && call / power == 0 {
        power /= 10;
    }
    while power > 0 {
        push(&[b'0' + (call / power % 10) as u8]);
        power /= 10;
    }
    for text in [AFTER, "\nhint: ", HINT, "\n"] {
        push(text.as_bytes());
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_length() {
        let mut text = [0; 4096];
        let length = numbered(b"a #### b ### c ####", 41, &mut text);
        assert_eq!(&text[..length], b"a 0041 b ### c 0041");
        assert_eq!(numbered(&[b'#'; 4097], 41, &mut text), 0);
        assert!(texts().0.starts_with("the system call #### was stopped"), "{}", texts().0);
    }

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
