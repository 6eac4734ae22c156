//! Starts this program once more, as another process of itself.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// This program with `argument`, which says what the process is for: [`child`](crate::child).
pub(crate) fn command(argument: &str) -> Command {
    // The file that runs now, even if the one at its path has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("keycell-broker").arg(argument);
    command
}
