//! How a run of a decoder ended, and what may be expected of it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status.
    pub status: ExitStatus,
    /// Everything that was read from stdout.
    pub stdout: Vec<u8>,
    /// The text that containerd would show as the error.
    pub stderr: String,
    /// From start to exit.
    pub elapsed: Duration,
    /// The most memory that it had resident at any time, in KiB, where that was measured.
    pub peak: u64,
}

impl Outcome {
    /// The plaintext of a run that succeeded.
    pub fn plaintext(self) -> Result<Vec<u8>> {
        ensure!(self.status.success(), "{}; stderr: {}", self.status, self.stderr);
        Ok(self.stdout)
    }

    /// The message of a run that failed as it should: exit 1, and in stderr (which is all that
    /// containerd shows) an error and a hint.
    pub fn error(&self) -> Result<&str> {
        ensure!(
            self.status.code() == Some(1),
            "expected exit 1, got {}; stderr: {}",
            self.status,
            self.stderr
        );
        let (_, message) = self
            .stderr
            .split_once("ctd-decoder: error: ")
            .with_context(|| format!("exit 1 without an error to read: `{}`", self.stderr))?;
        ensure!(!message.contains("ctd-decoder: error: "), "two errors: {}", self.stderr);
        ensure!(!message.contains("panicked"), "a panic: {}", self.stderr);
        ensure!(message.contains("hint: "), "an error without a hint: {}", self.stderr);
        Ok(message)
    }

    /// The message of a run that failed as [`Outcome::error`] says, without a byte on stdout.
    pub fn error_without_output(&self) -> Result<&str> {
        let error = self.error()?;
        ensure!(self.stdout.is_empty(), "{} bytes came out", self.stdout.len());
        Ok(error)
    }

    /// Succeeds like the original: the layer on stdout and nothing on stderr.
    pub fn is_silent_success(&self, plain: &[u8]) -> Result<()> {
        ensure!(self.status.success(), "{}; stderr: {}", self.status, self.stderr);
        ensure!(self.stderr.is_empty(), "stderr is not empty: {}", self.stderr);
        let length = self.stdout.len();
        ensure!(self.stdout == plain, "{length} bytes, {} expected, and they differ", plain.len());
        Ok(())
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}
