//! Why no content store can be used, in words.

use std::fmt;
use std::io;
use std::path::PathBuf;

use keycell_diagnostic::os_error;

/// Why no content store can be used.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// The operator has turned it off.
    #[error("its content store is not to be looked at")]
    Off,
    /// There is none at any place.
    #[error("there is no content store at containerd's usual places")]
    Absent {
        /// Where the containerd that calls should have its stores.
        of_caller: Vec<PathBuf>,
        /// Why the containerd that calls is not known.
        unknown: Option<Unknown>,
    },
    /// The configured path is no content store.
    #[error("`{}` is no content store", path.display())]
    Other {
        /// The path.
        path: PathBuf,
        /// Why the containerd that calls is not known.
        unknown: Option<Unknown>,
    },
    /// A store exists and cannot be opened.
    #[error("its content store `{}` cannot be read: {}", path.display(), os_error(error))]
    Closed {
        /// The store.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Why the containerd that calls is not known. Each value is a statement about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The process has no parent that it can see, or `/proc` does not show it.
    NoProcess,
    /// Neither the process nor an ancestor that was looked at holds containerd's metadata open.
    NoMetadata {
        /// What was looked at: the process, then its ancestors.
        looked_at: Vec<Named>,
    },
    /// A process may not be looked at.
    Unreadable {
        /// The process.
        process: Named,
        /// Why, as an error number.
        errno: i32,
    },
    /// A process of another user is not believed.
    OtherUser {
        /// The process.
        process: Named,
    },
    /// A process whose executable is another user's is not believed.
    Executable {
        /// The process.
        process: Named,
        /// The owner of its executable.
        uid: u32,
    },
    /// The metadata that a process holds open is another user's.
    Metadata {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The metadata that a process holds open is not what its path leads to.
    Moved {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProcess => f.write_str("`/proc` does not show the process that calls"),
            Self::NoMetadata { looked_at } => {
                let names: Vec<_> = looked_at.iter().map(ToString::to_string).collect();
                let names = names.join(", started by ");
                write!(f, "no process here holds containerd's metadata open: {names}")
            }
            Self::Unreadable { process, errno } => {
                let error = io::Error::from_raw_os_error(*errno);
                write!(f, "the open files of {process} cannot be listed: {}", os_error(&error))
            }
            Self::OtherUser { process } => write!(f, "{process} runs as another user"),
            Self::Executable { process, uid } => {
                write!(f, "the executable of {process} belongs to the user {uid}")
            }
            Self::Metadata { path, uid } => {
                write!(f, "`{}` belongs to the user {uid}", path.display())
            }
            Self::Moved { path } => {
                write!(f, "`{}` is not the file that the process holds open", path.display())
            }
        }
    }
}

/// A process, as messages name it: its name and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name, which the process itself can choose: without control characters and backticks.
    pub name: String,
    /// The process id.
    pub pid: i32,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.name, self.pid)
    }
}
