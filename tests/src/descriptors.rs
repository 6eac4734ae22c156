//! Descriptors of a child process beyond 0, 1 and 2: the one module with `unsafe` in it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// Descriptors that a test may hand over or close: containerd uses 0 to 3.
const LOW: RawFd = 4;

/// Keeps the low numbers of this process taken.
///
/// `Command::spawn` opens a pipe of its own, over which the child reports that `exec` failed. Were
/// that pipe number 3, placing the payload there would destroy it. Call this before any thread
/// starts; later calls do nothing.
pub(crate) fn reserve() {
    static PLACEHOLDERS: OnceLock<Vec<File>> = OnceLock::new();
    PLACEHOLDERS.get_or_init(|| {
        let mut held = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            if file.as_raw_fd() >= LOW {
                break;
            }
            held.push(file);
        }
        held
    });
}

/// Gives `fd` to the child under the number `number`.
pub(crate) fn place(command: &mut Command, fd: OwnedFd, number: RawFd) {
    let place = move || {
        let from = fd.as_raw_fd();
        // A duplicate does not inherit close-on-exec, but `dup2` onto itself changes nothing.
        // SAFETY: plain system calls on integers, safe between fork and exec; `from` is open,
        // because this closure owns it.
        let result = unsafe {
            if from == number {
                libc::fcntl(from, libc::F_SETFD, 0)
            } else {
                libc::dup2(from, number)
            }
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure calls only async-signal-safe functions and allocates nothing.
    unsafe { command.pre_exec(place) };
}

/// Makes `number` a descriptor that does not block, in the child. The other end of its pipe is
/// another file description, which still does.
pub(crate) fn unblock(command: &mut Command, number: RawFd) {
    let unblock = move || {
        // SAFETY: changes a flag of a number, which is safe between fork and exec; a number that
        // is not open is an error that changes nothing.
        unsafe { libc::fcntl(number, libc::F_SETFL, libc::O_NONBLOCK) };
        Ok(())
    };
    // SAFETY: the closure calls only async-signal-safe functions and allocates nothing.
    unsafe { command.pre_exec(unblock) };
}

/// Closes `number` in the child, whatever this process inherited there.
pub(crate) fn close(command: &mut Command, number: RawFd) {
    let close = move || {
        // SAFETY: `close` is async-signal-safe; the number is one that the decoder is to find
        // closed, and std no longer uses it at this point of the child's life (see `reserve`).
        unsafe { libc::close(number) };
        Ok(())
    };
    // SAFETY: the closure calls only async-signal-safe functions and allocates nothing.
    unsafe { command.pre_exec(close) };
}
