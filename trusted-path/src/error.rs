//! Why a path is not trusted, in words.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use keycell_diagnostic::os_error;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

/// Why a path is not trusted, or was not found. Each names the component that it is about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A component belongs to somebody who is not trusted.
    #[error("`{}` belongs to the user {uid}", shown(.path))]
    Owner {
        /// The component, without links.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// What it is.
        kind: Kind,
    },
    /// The group of a component, or everybody, can write to it.
    #[error("`{}` can be written to by others than its owner (mode {mode:04o})", shown(.path))]
    Writable {
        /// The component, without links.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What should be a regular file is something else.
    #[error("`{}` is not a regular file", shown(.path))]
    NotRegular {
        /// The file, without links.
        path: PathBuf,
    },
    /// A component is not there, or this process may not look at it.
    #[error("cannot look at `{}`: {}", shown(.path), os_error(.error))]
    Unreadable {
        /// The component, without links.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    File,
}

impl Kind {
    pub(crate) fn of(found: &Stat) -> Self {
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::File,
        }
    }
}

impl Error {
    pub(crate) fn unreadable(path: &Path, error: Errno) -> Self {
        Self::Unreadable { path: path.to_owned(), error: error.into() }
    }

    /// Whether the path leads to nothing.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable { error, .. } if is_missing(error))
    }

    /// Whether somebody who is not trusted could have changed what lies there.
    pub fn is_distrust(&self) -> bool {
        matches!(self, Self::Owner { .. } | Self::Writable { .. })
    }

    /// What mends it: for what others can change, the command.
    pub fn mend(&self) -> String {
        match self {
            Self::Owner { path, kind: Kind::Directory, .. } => format!(
                "`chown root {}`, or move what lies below it into a directory of root's",
                Word(path)
            ),
            Self::Owner { path, kind: Kind::Link, .. } => format!("`chown -h root {}`", Word(path)),
            Self::Owner { path, kind: Kind::File, .. } => format!("`chown root {}`", Word(path)),
            Self::Writable { path, .. } => format!("`chmod go-w {}`", Word(path)),
            Self::NotRegular { path } => {
                format!("put a regular file in the place of `{}`", shown(path))
            }
            Self::Unreadable { path, .. } => {
                format!("put it there, readable for this user: `{}`", shown(path))
            }
        }
    }
}

/// A path as a shell takes it for one word.
pub struct Word<'a>(pub &'a Path);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=%".contains(c);
        match path.chars().all(is_plain) {
            true => f.write_str(&path),
            false => write!(f, "'{}'", path.replace('\'', r"'\''")),
        }
    }
}

/// A path without what a terminal would obey, and what would end its quotation.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().filter(|c| !c.is_control() && *c != '`').collect()
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
