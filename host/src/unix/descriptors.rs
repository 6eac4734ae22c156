//! The descriptors that the process inherited: the payload on descriptor 3, and others that the caller
//! leaked.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where containerd writes the payload.
const PAYLOAD: RawFd = 3;

/// Returns descriptor 3, if it is open, and closes every other descriptor above standard error.
///
/// It must be called once, before anything else opens a file: then every open descriptor is inherited.
#[expect(unsafe_code, reason = "descriptors are inherited as numbers")]
pub fn inherited() -> Option<OwnedFd> {
    close_from(PAYLOAD + 1);
    // SAFETY: this reads the flags of a descriptor number; it touches no memory.
    let is_open = unsafe { libc::fcntl(PAYLOAD, libc::F_GETFD) } != -1;
    // SAFETY: the descriptor is open, and nothing in this process owns it, since nothing was opened
    // before.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(PAYLOAD) })
}

/// Whether standard output was open when the program started. Rust's runtime replaces a closed one with
/// `/dev/null`, where a layer would be lost with exit code 0.
pub fn stdout_was_open() -> bool {
    !STDOUT_CLOSED.load(Ordering::Relaxed)
}

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "has to run before Rust's runtime does")]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: this reads the flags of a descriptor number; it touches no memory.
        let closed = unsafe { libc::fcntl(1, libc::F_GETFD) } == -1;
        STDOUT_CLOSED.store(closed, Ordering::Relaxed);
    }
    look
};

#[expect(unsafe_code, reason = "descriptors are closed by number")]
fn close_from(first: RawFd) {
    // SAFETY: this is called before the process has opened anything above standard error, so it closes
    // only inherited descriptors. A kernel before 5.9 answers ENOSYS.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if closed != 0 {
        for number in first..1024 {
            // SAFETY: as above.
            unsafe { libc::close(number) };
        }
    }
}
