//! Finds the program of a provider's command, and checks whether it may be executed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use keycell_trusted_path::{self as trusted, Trust};
use rustix::fs::{Access, access};

use super::text;

/// The directories that are searched for programs if the broker has no `PATH`, as execvp(3) does.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// Why a program cannot be executed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not exist.
    #[error("there is no `{0}`; correct `path` in its `cmd`")]
    Missing(String),
    /// It is not a program, or not one for this user.
    #[error("`{0}` is not a program that may be executed; correct `path` in its `cmd`")]
    NotExecutable(String),
    /// Others could have changed it.
    #[error("`{name}` is not executed: {why}; {}", .why.mend())]
    Untrusted {
        /// Its name in the configuration.
        name: String,
        /// Who could have, and how to fix it.
        why: trusted::Error,
    },
}

/// Returns the path of the program `path`, or why it could not be started, as far as it can be checked.
pub(super) fn found(path: &str) -> Result<PathBuf, Error> {
    let name = || text::name(path);
    let file = lookup(path).ok_or_else(|| Error::Missing(name()))?;
    if !is_program(&file) {
        return Err(Error::NotExecutable(name()));
    }
    trusted(&file).map_err(|why| Error::Untrusted { name: name(), why })?;
    Ok(file)
}

/// Returns the file at `path`. A name without a slash is searched in `PATH`, as execvp(3) does: a file
/// that may not be executed is skipped if there is another one. As in Go, a relative directory in `PATH`
/// does not count, because the working directory would decide what runs.
pub(super) fn lookup(path: &str) -> Option<PathBuf> {
    if path.contains('/') {
        return Some(PathBuf::from(path)).filter(|file| file.exists());
    }
    let places = search_path();
    let files = || {
        let absolute = env::split_paths(&places).filter(|place| place.is_absolute());
        absolute.map(|place| place.join(path))
    };
    files().find(|file| is_program(file)).or_else(|| files().find(|file| file.is_file()))
}

pub(super) fn is_program(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

pub(super) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| OsString::from(USUAL_PATH))
}

/// Whether only root and the broker's user can change the program at this path. Then it is safe to
/// execute it by its path.
pub(super) fn trusted(program: &Path) -> Result<(), trusted::Error> {
    Trust::of_this_process().check(program).map(drop)
}
