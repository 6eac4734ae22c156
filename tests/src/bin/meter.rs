//! `meter FILE PROGRAM [ARGUMENT…]`: runs a program and writes the peak of its memory, in KiB, to
//! a file.
//!
//! It is a separate program because a child's peak includes the memory of the process that forked it: a
//! test that holds a layer would measure itself.
#![allow(unsafe_code)]

use std::process::{Command, exit};

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(file), Some(program)) = (args.next(), args.next()) else {
        eprintln!("usage: meter FILE PROGRAM [ARGUMENT…]");
        exit(2);
    };
    // SIGPIPE, which Rust ignores, is at its default again in what `Command` starts.
    let status = Command::new(program).args(args).status()?;
    // SAFETY: `rusage` is made of integers, for which zero is a value, and the call only writes
    // into it.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut used);
        used
    };
    std::fs::write(file, used.ru_maxrss.to_string())?;
    // A signal is reported as 128 or more, which is never a valid exit code of a decoder.
    exit(status.code().unwrap_or(255));
}
