//! Filters of system calls (seccomp(2)).
//!
//! These are the answers to a call that is not in the lists of [`super::calls`], with their reasons:
//!
//! - **The call is not made, and the process ends**, through a signal (`SECCOMP_RET_TRAP`) whose handler
//!   writes what happened to standard error and the log and exits with 1 ([`super::sigsys`]). Killing the
//!   process directly would be no safer, because the call is not made either way, and would leave
//!   containerd with an empty error. Code that an attacker controls cannot replace the handler, since
//!   `rt_sigaction` is not in the lists. If the signal is blocked, the kernel kills the process.
//! - **A few calls fail** with `ENOSYS` instead: those that the C library tries on its own and does not
//!   require. A layer must not fail because of a newer C library. `clone` of a thread or into a namespace
//!   fails with `EPERM`, so that a library that wants a thread reports the error.
//! - Calls of another architecture (32-bit code on x86-64) kill the process; those of x32 end it through
//!   the signal.

use libc::{c_long, sock_filter};
use rustix::io::Errno;

use crate::bpf::{Answer, Policy, program};
use crate::calls::{self, Call};
use crate::error::Error;
use crate::sigsys::last_error;

/// A filter that is ready to be put up.
pub struct Filter(pub(crate) Vec<sock_filter>);

impl Filter {
    /// The filter for `ctd-decoder` while keys are unwrapped. `broker` is the process group of a
    /// running broker. `landlock` says whether Landlock keeps files from being written to and
    /// truncated.
    ///
    /// # Errors
    /// The architecture is neither x86-64 nor aarch64.
    pub fn unwrapping(broker: Option<i32>, landlock: bool) -> Result<Self, Error> {
        let openat2 = if landlock { Answer::Allow } else { Answer::Errno(libc::ENOSYS) };
        let lists = [
            (calls::UNWRAPPING_ANSWERED, Answer::Errno(libc::ENOSYS)),
            (calls::WITH_LANDLOCK, openat2),
            (calls::ALWAYS, Answer::Allow),
            (calls::UNWRAPPING, Answer::Allow),
            (calls::REFUSED, Answer::Errno(libc::EPERM)),
        ];
        let policy = Policy { newest: None, lists: &lists, otherwise: Answer::Trap, broker };
        program(&policy).map(Self)
    }

    /// The filter for `ctd-decoder` while the layer flows, in addition to [`Filter::unwrapping`]. It
    /// takes away what only unwrapping needs. The kernel runs both, and the stricter answer applies.
    ///
    /// # Errors
    /// As [`Filter::unwrapping`].
    pub fn decrypting() -> Result<Self, Error> {
        let all = |calls: &[Call]| -> Vec<Call> {
            calls.iter().copied().map(Call::unconditional).collect()
        };
        let lists = [
            (calls::DECRYPTING_ANSWERED, Answer::Errno(libc::ENOSYS)),
            (&all(calls::UNWRAPPING), Answer::Trap),
            (&all(calls::WITH_LANDLOCK), Answer::Trap),
            (&all(calls::UNWRAPPING_ANSWERED), Answer::Trap),
        ];
        let otherwise = Answer::Allow;
        program(&Policy { newest: None, lists: &lists, otherwise, broker: None }).map(Self)
    }

    /// The filter for a process that loads a PKCS#11 module, and for a command that is confined to
    /// files.
    ///
    /// # Errors
    /// As [`Filter::unwrapping`].
    pub fn module() -> Result<Self, Error> {
        let lists = [
            (calls::MODULE_ENOSYS, Answer::Errno(libc::ENOSYS)),
            (calls::MODULE_ALLOWED, Answer::Allow),
            (calls::MODULE_FORBIDDEN, Answer::Errno(libc::EPERM)),
        ];
        let (newest, otherwise) = (Some(calls::NEWEST), Answer::Allow);
        program(&Policy { newest, lists: &lists, otherwise, broker: None }).map(Self)
    }

    /// Puts up the filter for all threads of this process and all its children.
    ///
    /// # Errors
    /// The kernel does not support filters.
    #[expect(unsafe_code, reason = "a system call that no crate of ours has")]
    pub fn raise(&self) -> Result<(), Error> {
        let length = u16::try_from(self.0.len()).map_err(|_| Error::Filter(Errno::TOOBIG))?;
        let filter = libc::sock_fprog { len: length, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the kernel copies `length` instructions from `self`, and writes nothing.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                c_long::from(libc::SECCOMP_SET_MODE_FILTER),
                libc::SECCOMP_FILTER_FLAG_TSYNC,
                &raw const filter,
            )
        };
        match answer {
            0 => Ok(()),
            -1 => Err(Error::Filter(last_error())),
            thread => Err(Error::OtherFilter(thread)),
        }
    }
}

#[cfg(test)]
mod tests;
