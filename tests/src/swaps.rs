//! The swap areas that the kernel reports.

use std::ffi::OsString;
use std::io::Write;

use anyhow::Result;
use tempfile::NamedTempFile;

/// The titles of `/proc/swaps` (proc(5)), and a file that is swapped to.
const TITLES: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
const FILE: &str = "/swapfile                               file\t\t1048572\t\t0\t\t-2\n";

/// In the place of `/proc/swaps`, for one program.
pub struct Swaps(NamedTempFile);

impl Swaps {
    /// A file that is swapped to, or nothing.
    ///
    /// # Errors
    /// A directory for temporary files that cannot be written to.
    pub fn new(some: bool) -> Result<Self> {
        let mut file = NamedTempFile::new()?;
        write!(file, "{TITLES}{}", if some { FILE } else { "" })?;
        Ok(Self(file))
    }

    /// The words before a program and its arguments that make it see this file. Needs root.
    pub fn inside(&self) -> Vec<OsString> {
        let mount = "mount --bind \"$0\" /proc/swaps && exec \"$@\"";
        let words = ["unshare", "--mount", "sh", "-c", mount].map(OsString::from);
        words.into_iter().chain([self.0.path().into()]).collect()
    }
}
