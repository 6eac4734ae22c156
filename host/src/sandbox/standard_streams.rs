//! Standard input and standard output: the encrypted layer and the plain layer. Both are unbuffered,
//! and the time spent waiting for them does not count as the guest's.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::deadline;

/// Standard input: the encrypted layer.
pub struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        retry(stdin, PollFlags::IN, || rustix::io::read(stdin, &mut *buffer))
    }
}

/// Standard output: the plain layer. `SIGPIPE` is ignored, so a write without a reader fails with
/// `BrokenPipe`.
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stdout = rustix::stdio::stdout();
        retry(stdout, PollFlags::OUT, || rustix::io::write(stdout, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Repeats a call that a signal interrupted, and waits if the descriptor is non-blocking and not ready,
/// for as long as the other end takes.
fn retry(
    descriptor: BorrowedFd<'_>,
    wanted: PollFlags,
    mut call: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    deadline::without(|| {
        loop {
            match call() {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    match poll(&mut [PollFd::from_borrowed_fd(descriptor, wanted)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return Ok(done?),
            }
        }
    })
}
