//! How to fix a guest store whose guests are refused: for the decoder and for `keycell`.

use std::fmt;

/// Why a guest is refused, as far as the cause decides what fixes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestStoreHint {
    /// The store cannot be opened.
    StoreDirectory,
    /// Something in the store cannot be read.
    Readable,
    /// Others than root can change something in the store.
    Untrusted {
        /// Whether the owner is the reason.
        owner: bool,
        /// The command that takes the right from them.
        fix: String,
    },
    /// The file that names the default guest is of no use.
    RewriteDefault,
    /// The guest was compiled for another engine or machine.
    Rebuild {
        /// The command.
        command: String,
    },
    /// The guest is not complete.
    Reinstall {
        /// The command.
        command: String,
    },
    /// The code of the guest was changed.
    Changed {
        /// The command that installs it.
        reinstall: String,
    },
    /// A file of the guest is too long, or cannot be read.
    Damaged,
    /// A file is a link, or no file at all.
    Links,
    /// There is no guest of this name.
    Install {
        /// The names of some guests that are installed; `None` where there is no store.
        installed: Option<Vec<String>>,
        /// The command that installs one.
        command: String,
    },
    /// This is not a name.
    Names,
}

impl fmt::Display for GuestStoreHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StoreDirectory => f.write_str(
                "`--guest-store` is the directory that `keycell guest install` writes to",
            ),
            Self::Readable => f.write_str(
                "the store is readable for everybody as `keycell guest install` makes it",
            ),
            Self::Untrusted { owner, fix } => {
                let owner = if *owner { "guests belong to root: " } else { "" };
                write!(f, "{owner}find out who wrote to it; then {fix}, and `keycell guest verify`")
            }
            Self::RewriteDefault => f.write_str(
                "`keycell guest default NAME` writes it anew; `embedded` is the decoder's own",
            ),
            Self::Rebuild { command } => write!(f, "`{command}` compiles it again"),
            Self::Reinstall { command } => write!(f, "`{command}` installs it anew"),
            Self::Changed { reinstall } => {
                write!(f, "find out who wrote to it; `{reinstall}` installs it anew")
            }
            Self::Damaged => f.write_str(
                "find out who wrote to it; `keycell guest install --replace FILE --name NAME` installs \
                 it anew",
            ),
            Self::Links => f.write_str(
                "the store holds what `keycell guest install` wrote and no links: remove it; \
                 `keycell guest install --replace FILE --name NAME` installs the guest anew",
            ),
            Self::Install { installed, command } => {
                match installed.as_deref() {
                    None => f.write_str("there is no such store")?,
                    Some([]) => f.write_str("none is installed")?,
                    Some(names) => write!(f, "installed are `{}`", names.join("`, `"))?,
                }
                write!(f, "; `{command}` installs one")
            }
            Self::Names => f.write_str(
                "a name is up to 64 small letters, digits and `-`, `_`, `.`, beginning with a \
                 letter or a digit, other than `default` and `embedded`; `keycell guest list` \
                 lists them",
            ),
        }
    }
}
