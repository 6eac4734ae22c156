//! The descriptors that containerd left open: the payload on 3, and what leaked.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Where containerd writes the payload.
const PAYLOAD: RawFd = 3;

/// Bytes that most payloads have room in: fewer calls of read(2).
const TYPICAL: usize = 8 * 1024;

/// Why there is no payload.
pub enum PayloadFault {
    /// It is longer than the limit.
    TooLong,
    /// Descriptor 3 cannot be read.
    Unreadable(io::Error),
}

/// Descriptor 3, if it is open. Every other descriptor above standard error is closed.
///
/// To be called once, before anything else opens a file: whatever is open was inherited.
#[expect(unsafe_code, reason = "descriptors are inherited as numbers")]
pub fn inherited() -> Option<OwnedFd> {
    close_from(PAYLOAD + 1);
    // SAFETY: asks for a flag of a number; touches no memory.
    let is_open = unsafe { libc::fcntl(PAYLOAD, libc::F_GETFD) } != -1;
    // SAFETY: it is open, and nothing in this process owns it, since nothing was opened before.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(PAYLOAD) })
}

/// Reads the payload to its end, and closes its descriptor. Without one it is empty.
///
/// # Errors
/// [`PayloadFault`].
pub fn read_payload(inherited: Option<OwnedFd>, limit: usize) -> Result<Vec<u8>, PayloadFault> {
    let Some(inherited) = inherited else { return Ok(Vec::new()) };
    let mut inherited = File::from(inherited);
    let mut payload = Vec::with_capacity(TYPICAL.min(limit));
    loop {
        let room = (limit + 1 - payload.len()) as u64;
        match inherited.by_ref().take(room).read_to_end(&mut payload) {
            Ok(_) if payload.len() > limit => return Err(PayloadFault::TooLong),
            Ok(_) => return Ok(payload),
            // What was read so far is kept. A caller with an event loop may pass such a pipe.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(&inherited, PollFlags::IN)];
                match poll(&mut wanted, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(PayloadFault::Unreadable(error.into())),
                }
            }
            // It is open to write alone: no caller's payload.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(Vec::new()),
            Err(error) => return Err(PayloadFault::Unreadable(error)),
        }
    }
}

/// Whether standard output was open when the program started. Rust's runtime opens `/dev/null` in
/// the place of a closed one, where a layer would vanish with exit code 0.
pub fn stdout_was_open() -> bool {
    !STDOUT_CLOSED.load(Ordering::Relaxed)
}

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "has to run before Rust's runtime does")]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: asks for a flag of a number; touches no memory.
        let closed = unsafe { libc::fcntl(1, libc::F_GETFD) } == -1;
        STDOUT_CLOSED.store(closed, Ordering::Relaxed);
    }
    look
};

#[expect(unsafe_code, reason = "descriptors are closed by number")]
fn close_from(first: RawFd) {
    // SAFETY: called before this process has opened anything above standard error, so it closes
    // only what was inherited. A kernel before 5.9 answers ENOSYS.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if closed != 0 {
        for number in first..1024 {
            // SAFETY: as above.
            unsafe { libc::close(number) };
        }
    }
}
