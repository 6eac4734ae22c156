//! Standard error and standard output, when they carry text.

use std::io::Write as _;
use std::process::ExitCode;

/// Prints help or the version.
pub fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to standard error, which may be closed.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
