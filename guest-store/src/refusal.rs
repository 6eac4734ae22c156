//! Why a guest is not run.

use std::io;
use std::path::PathBuf;

use keycell_diagnostic::hint::GuestStoreHint;
use keycell_diagnostic::{Diagnostic, os_error};
use keycell_engine::ENGINE;
use keycell_trusted_path as trusted;

use crate::record;

/// Why a guest is not run. [`Refusal::hint`] says what fixes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The store cannot be opened.
    #[error("cannot open the guest store `{}`: {error}", .path.display())]
    Store {
        /// The path of the store.
        path: PathBuf,
        /// Why.
        error: trusted::Error,
    },
    /// Others than root and the user of this process can change the store or something in it.
    #[error("{0}, who could run code in the decoder")]
    Untrusted(trusted::Error),
    /// The file that names the default guest cannot be read.
    #[error("cannot read `{}`: {}", .path.display(), os_error(.error))]
    DefaultUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file that names the default guest holds something else.
    #[error("`{}` does not hold the name of a guest", .path.display())]
    DefaultIsNoName {
        /// The file.
        path: PathBuf,
    },
    /// The guest was compiled for another version of the engine.
    #[error("the guest `{name}` was compiled for `{engine}`, and this is `{ENGINE}`")]
    OtherEngine {
        /// The guest.
        name: String,
        /// Its engine.
        engine: String,
        /// The command that compiles it.
        rebuild: String,
    },
    /// The guest was compiled for another kind of machine.
    #[error("the guest `{name}` was compiled for `{target}`, not for this machine")]
    OtherTarget {
        /// The guest.
        name: String,
        /// Its target.
        target: String,
        /// The command that compiles it.
        rebuild: String,
    },
    /// The guest lacks a file.
    #[error("the guest `{name}` has no `{file}`, so it was not installed whole")]
    Incomplete {
        /// The guest.
        name: String,
        /// The file.
        file: &'static str,
        /// The command that installs it.
        reinstall: String,
    },
    /// The record of the guest is of no use.
    #[error("the record `{}` is not readable: {fault}", .path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        fault: RecordFault,
        /// The command that installs the guest.
        reinstall: String,
    },
    /// The native code is not what was installed.
    #[error("the code of the guest `{name}` is not what was installed: its SHA-256 differs")]
    Changed {
        /// The guest.
        name: String,
        /// The command that installs it.
        reinstall: String,
    },
    /// There is no guest of this name.
    #[error("there is no guest `{name}` in `{}`", .path.display())]
    NoGuest {
        /// The name.
        name: String,
        /// The path of the store.
        path: PathBuf,
        /// The names of some guests that are installed; `None` where there is no store.
        installed: Option<Vec<String>>,
        /// The command that installs one.
        install: String,
    },
    /// This is not a name.
    #[error("`{0}` is no name of an installed guest")]
    NotAName(String),
    /// A file is too long.
    #[error("`{}` is longer than {limit} bytes", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its limit, in bytes.
        limit: u64,
    },
    /// A file of a guest cannot be read.
    #[error("cannot read `{name}`: {}", os_error(.error))]
    Unreadable {
        /// The file, within the guest.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// A file or directory of a guest cannot be opened.
    #[error("cannot read `{}`: {}", .path.display(), os_error(.error))]
    NotOpened {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A link, or something else where the store has a file or directory.
    #[error("`{}` is a link or something else than a {kind}", .path.display())]
    Kind {
        /// Its path.
        path: PathBuf,
        /// What the store has there.
        kind: &'static str,
    },
}

/// Why the record of a guest is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// It cannot be read.
    #[error("{}", os_error(.0))]
    Unreadable(io::Error),
    /// It has another form.
    #[error(transparent)]
    Format(#[from] record::Error),
    /// It describes the guest of this name.
    #[error("it is that of `{0}`")]
    OtherGuest(String),
}

impl Refusal {
    /// What fixes it.
    pub fn hint(&self) -> GuestStoreHint {
        match self {
            Self::Store { .. } => GuestStoreHint::StoreDirectory,
            Self::Untrusted(error) => GuestStoreHint::Untrusted {
                owner: matches!(error, trusted::Error::Owner { .. }),
                fix: error.mend(),
            },
            Self::DefaultUnreadable { .. } | Self::DefaultIsNoName { .. } => {
                GuestStoreHint::RewriteDefault
            }
            Self::OtherEngine { rebuild, .. } | Self::OtherTarget { rebuild, .. } => {
                GuestStoreHint::Rebuild { command: rebuild.clone() }
            }
            Self::Incomplete { reinstall, .. } | Self::Record { reinstall, .. } => {
                GuestStoreHint::Reinstall { command: reinstall.clone() }
            }
            Self::Changed { reinstall, .. } => {
                GuestStoreHint::Changed { reinstall: reinstall.clone() }
            }
            Self::NoGuest { installed, install, .. } => {
                GuestStoreHint::Install { installed: installed.clone(), command: install.clone() }
            }
            Self::NotAName(_) => GuestStoreHint::Names,
            Self::TooLong { .. } | Self::Unreadable { .. } => GuestStoreHint::Damaged,
            Self::NotOpened { .. } => GuestStoreHint::Readable,
            Self::Kind { .. } => GuestStoreHint::Links,
        }
    }
}

impl From<Refusal> for Diagnostic {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.to_string(), refusal.hint())
    }
}
