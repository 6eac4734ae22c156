//! What is kept between runs: the counters, and how far the log is read.
//!
//! Both are in one file, which is replaced as a whole, so that no event is counted twice or lost.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tempfile::Builder;

use super::log_file::Positions;
use super::totals::Totals;

/// The version of the file's form.
const VERSION: u32 = 1;

/// The longest file, in bytes.
const MAX_STATE: u64 = 4 * 1024 * 1024;

/// What is kept between runs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// The counters.
    pub totals: Totals,
    /// How far each log file is read.
    pub files: BTreeMap<PathBuf, Positions>,
    /// The last entry of the journal that is read.
    pub journal: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        let (totals, files, journal) = Default::default();
        Self { version: VERSION, totals, files, journal }
    }
}

/// The file of the state, which no other run can read or write meanwhile.
pub struct Locked {
    path: PathBuf,
    directory: File,
}

impl Locked {
    /// Waits until no other run uses the state.
    ///
    /// # Errors
    /// The directory does not exist and cannot be created, or cannot be opened.
    pub fn new(path: &Path) -> io::Result<Self> {
        let directory = directory(path);
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        let directory = File::open(directory)?;
        flock(&directory, FlockOperation::LockExclusive)?;
        Ok(Self { path: path.to_owned(), directory })
    }

    /// Reads the state. None if there is a file that is not of this form.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> io::Result<Option<State>> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(State::default()));
            }
            file => file?.take(MAX_STATE).read_to_end(&mut text)?,
        };
        let state = serde_json::from_slice::<State>(&text).ok();
        Ok(state.filter(|state| state.version == VERSION))
    }

    /// Replaces the state.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, state: &State) -> io::Result<()> {
        replace(&self.path, &serde_json::to_vec(state)?, 0o600)?;
        self.directory.sync_all()
    }
}

/// Replaces a file as a whole: whoever reads it gets the old content or the new one.
///
/// # Errors
/// The file cannot be written.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // The error of a missing directory would name the temporary file.
    fs::metadata(directory(path))?;
    // node_exporter reads every file of its directory whose name ends with `.prom`.
    let mut file =
        Builder::new().prefix(".keycell-").suffix(".new").tempfile_in(directory(path))?;
    file.write_all(content)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("below/state.json");
        let mut state = State { journal: Some("s=1".to_owned()), ..State::default() };
        state.totals.provider("kms").microseconds = u64::MAX;
        state.files.insert("/var/log/a".into(), [("head".to_owned(), 7)].into());
        {
            let locked = Locked::new(&path).expect("locked");
            assert_eq!(locked.read().expect("read"), Some(State::default()));
            locked.write(&state).expect("written");
        }
        let locked = Locked::new(&path).expect("locked");
        let read = locked.read().expect("read").expect("a state");
        assert_eq!(read.totals.providers[0].microseconds, u64::MAX);
        assert_eq!((read.files.len(), read.journal.as_deref()), (1, Some("s=1")));
        for garbage in ["", "{}", "\0", r#"{"version":2}"#] {
            fs::write(&path, garbage).expect("written");
            assert_eq!(locked.read().expect("read"), None, "{garbage}");
        }
    }
}
