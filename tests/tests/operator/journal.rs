//! A journal that keeps what it is sent: a socket where a decoder finds journald's.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use keycell_tests::tools::Tool;

/// What it takes.
pub(crate) const TOOLS: [Tool; 2] = [Tool::Root, Tool::Unshare];

pub(crate) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// With its socket in `dir`.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let path = dir.join("journal");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self { socket, path })
    }

    /// A decoder in its own namespace, where this is the journal. The variable `PAYLOAD` names a
    /// file with its payload.
    pub(crate) fn decoder(&self, args: &[impl AsRef<OsStr>]) -> Result<Command> {
        let script = "mount -t tmpfs keycell /run && mkdir -p /run/systemd/journal && \
            ln -s \"$1\" /run/systemd/journal/socket && shift && \
            if [ \"$PAYLOAD\" ]; then exec 3<\"$PAYLOAD\"; fi && exec \"$@\"";
        let mut command = Command::new(Tool::Unshare.find()?);
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(&self.path).arg(keycell_tests::dist("ctd-decoder")?).args(args);
        Ok(command)
    }

    /// The next entry.
    pub(crate) fn entry(&self) -> Result<String> {
        let mut entry = [0; 8192];
        let length = self.socket.recv(&mut entry).context("the journal was sent nothing")?;
        Ok(String::from_utf8_lossy(&entry[..length]).into_owned())
    }
}
