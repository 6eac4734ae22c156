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

/// Makes the pipes of standard input and standard output hold up to 1 MiB, which any user may. The processes at
/// the ends of a small pipe wait for each other so often that they hardly run at the same time. What is no
/// pipe stays as it is.
#[expect(unsafe_code, reason = "one more feature of rustix would be built for this alone")]
pub fn enlarge_pipes() {
    for descriptor in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
        // SAFETY: this changes the size of a pipe in the kernel, or fails; it touches no memory.
        unsafe { libc::fcntl(descriptor, libc::F_SETPIPE_SZ, PIPE) };
    }
}

/// The size of a pipe, in bytes: what Linux allows without a capability (pipe(7)).
const PIPE: libc::c_int = 1 << 20;

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
