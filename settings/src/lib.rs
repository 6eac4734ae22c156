//! The decoder's flags and its configuration file: one definition for `ctd-decoder`, which obeys
//! them, and for `keycell`, which explains and checks them.
//!
//! [`flags`] is the definition: parsing, the keys of the [`configuration`], help and the manual come
//! from it. [`parse`] reads a command line and the configuration into [`Settings`].
//! [`key_permissions`] tells who else may read or change the keys that the settings name.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod configuration;
pub mod flags;
pub mod key_permissions;

pub use arguments::{ArgumentError, Request, parse};
pub use configuration::ConfigurationError;

use std::path::PathBuf;

/// How to decrypt.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory with private keys, or a file with some.
    pub keys: Option<PathBuf>,
    /// Which algorithms may have wrapped a layer key.
    pub algorithms: MinAlgorithms,
    /// Who decrypts the layer.
    pub cipher: CipherSide,
    /// Where to look for the layer when there is no payload.
    pub content_store: ContentStore,
    /// Check all of the layer before its first byte is written, and keep it here meanwhile.
    pub verify_first: Option<SpoolSettings>,
    /// Which guest runs.
    pub guest: GuestSettings,
    /// What is reported, and where.
    pub report: ReportSettings,
    /// What the operating system's walls must be.
    pub sandbox: SandboxSettings,
}

/// Which guest runs.
#[derive(Debug, PartialEq, Eq)]
pub struct GuestSettings {
    /// Its name, if it is not the default one.
    pub name: Option<String>,
    /// Where guests are installed.
    pub store: PathBuf,
    /// Run only guests whose signature was verified when they were installed.
    pub require_signature: bool,
}

/// What is reported, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct ReportSettings {
    /// Where each layer is logged.
    pub log: Destination,
    /// Keep names and fingerprints of keys out of standard error.
    pub quiet_errors: bool,
    /// Show on standard error what each instance was granted.
    pub explain: bool,
}

/// What the operating system's walls must be.
#[derive(Debug, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The user to become before the guest runs.
    pub user: Option<String>,
    /// Refuse to run where a wall of the operating system is missing.
    pub is_required: bool,
}

/// containerd's content store.
#[derive(Debug, PartialEq, Eq)]
pub enum ContentStore {
    /// In containerd's default root directories.
    Default,
    /// In this root directory of containerd, or this directory itself.
    At(PathBuf),
    /// Not to be looked at.
    Off,
}

/// Where `--verify-first` keeps the layer, and how long the layer may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// A directory; `None`: in memory.
    pub directory: Option<PathBuf>,
    /// The longest layer, in MiB.
    pub limit: u64,
}

/// Who decrypts the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherSide {
    /// The host lends its cipher, which is fast and verified by the host.
    Host,
    /// The guest, inside the sandbox.
    Guest,
}

/// Which algorithms may have wrapped a layer key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinAlgorithms {
    /// All that the format has.
    Legacy,
    /// Those that would be chosen today.
    Modern,
}

/// Where each layer is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// The journal, or else the system's log, or else nowhere.
    #[default]
    System,
    /// journald, in its native protocol.
    Journal,
    /// The system's log, in JSON.
    Syslog,
    /// A file, in JSON, one event a line.
    File(PathBuf),
    /// Nowhere.
    Off,
}

impl From<PathBuf> for Destination {
    /// Three words have a meaning; everything else is the path of a file.
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("journal") => Self::Journal,
            Some("syslog") => Self::Syslog,
            Some("off") => Self::Off,
            _ => Self::File(path),
        }
    }
}
