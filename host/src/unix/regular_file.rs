//! Opens only regular files: opening a pipe would block, and opening a device may have an effect.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

/// How long to wait before a file is opened again, and how often. Linux breaks a lease after 45 seconds
/// if its holder does not give it up.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSES: usize = 6000;

/// Opens a file to read it.
///
/// # Errors
/// As open(2); also, the file is not a regular one.
pub fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags());
    check(retry_opening(|| options.open(path))?)
}

/// Retries while a file cannot be opened yet, because something was renamed meanwhile, or because
/// another program has a lease on the file and was asked to give it up (fcntl(2)).
///
/// # Errors
/// As open(2); after a minute, the error that the file cannot be opened yet.
pub fn retry_opening<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..PAUSES {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    open()
}

/// Flags with which opening never waits, even if another kind of file has replaced the file meanwhile.
pub fn flags() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// Returns the file if it is a regular one.
///
/// # Errors
/// The file is not a regular one.
pub fn check(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

fn not_regular() -> io::Error {
    io::Error::other("not a regular file")
}
