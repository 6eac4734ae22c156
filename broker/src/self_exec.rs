//! Starts this program again as another process.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// This program with `argument`, which selects what the process does: [`child`](crate::child).
pub(crate) fn command(argument: &str) -> Command {
    // This is the file that runs now, even if the one at its path has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("keycell-broker").arg(argument);
    command
}
