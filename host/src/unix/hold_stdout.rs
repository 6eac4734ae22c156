//! Keeps standard output open for a moment after a failure.
//!
//! containerd reads the plain layer until the pipe closes. Only then does it check, without waiting,
//! whether its stream processor has failed. The kernel closes all descriptors of a process before its
//! parent can wait for it, so containerd often loses that race and reports `wrong diff id` or
//! `unexpected EOF` instead of our message (34 of 300 pulls with a wrong key on containerd 1.6.20). A
//! child that holds nothing but standard output decides the race: when the pipe closes, the failure is
//! already known.

use rustix::fs::{FileType, fstat};

/// How long the child holds standard output, in nanoseconds: a fifth of a second.
const MOMENT: libc::c_long = 200_000_000;

/// Starts a child that holds standard output for a moment and then ends, if standard output is a pipe.
///
/// This must be called right before the process exits, when every secret is wiped. A signal handler may
/// call it.
pub fn hold_stdout() {
    let stdout = fstat(rustix::stdio::stdout());
    if stdout.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo) {
        leave_child();
    }
}

#[expect(unsafe_code, reason = "a child that only waits; a thread would end with the process")]
fn leave_child() {
    // This is not `fork`: the walls allow exactly this form of the call, and newer versions of the C
    // library use other forms.
    // SAFETY: without CLONE_VM the child has a copy of everything, and it calls nothing but
    // `close`, `nanosleep` and `_exit`, which are async-signal-safe.
    unsafe {
        if libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) == 0 {
            libc::close(0);
            libc::close(2);
            let moment = libc::timespec { tv_sec: 0, tv_nsec: MOMENT };
            libc::nanosleep(&moment, std::ptr::null_mut());
            libc::_exit(0);
        }
    }
}
