//! Standard output and standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

use keycell_diagnostic::os_error;

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {}", os_error(.0))]
pub struct OutputError(io::Error);

/// Prints this on standard output. A reader that has ended, such as `head`, has read what it wants.
///
/// # Errors
/// A full disk, or another failure of the system.
pub fn print(text: impl Display) -> Result<(), OutputError> {
    let mut output = io::stdout().lock();
    match output.write_all(text.to_string().as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

/// Prints this on standard error. There is no other place to tell that this fails.
pub fn tell(text: impl Display) {
    let _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}
