//! The descriptors that containerd left open: the payload on 3, and what leaked.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, RawFd};
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

/// Reads descriptor 3 to its end and closes it together with every other descriptor above
/// standard error. A descriptor that is not open is an empty payload.
///
/// To be called once, before anything else opens a file: whatever is open was inherited.
///
/// # Errors
/// [`PayloadFault`]; the descriptors are closed all the same.
#[expect(unsafe_code, reason = "descriptors are inherited as numbers")]
pub fn take_payload(limit: usize) -> Result<Vec<u8>, PayloadFault> {
    // SAFETY: nothing in this process owns the descriptor, since nothing was opened before; if
    // it is not open, every operation on it fails with EBADF, and dropping it does nothing
    // because of `forget` below.
    let mut inherited = unsafe { File::from_raw_fd(PAYLOAD) };
    let mut payload = Vec::with_capacity(TYPICAL.min(limit));
    let read = loop {
        let room = (limit + 1 - payload.len()) as u64;
        match inherited.by_ref().take(room).read_to_end(&mut payload) {
            // What was read so far is kept. A caller with an event loop may pass such a pipe.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(&inherited, PollFlags::IN)];
                match poll(&mut wanted, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => break Err(error.into()),
                }
            }
            read => break read,
        }
    };
    std::mem::forget(inherited);
    close_inherited();
    match read {
        Ok(_) if payload.len() > limit => Err(PayloadFault::TooLong),
        Ok(_) => Ok(payload),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(Vec::new()),
        Err(error) => Err(PayloadFault::Unreadable(error)),
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
fn close_inherited() {
    // SAFETY: called before this process has opened anything above standard error, so it closes
    // only what was inherited. A kernel before 5.9 answers ENOSYS.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, PAYLOAD, libc::c_uint::MAX, 0) };
    if closed != 0 {
        for number in PAYLOAD..1024 {
            // SAFETY: as above.
            unsafe { libc::close(number) };
        }
    }
}
