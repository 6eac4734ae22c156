//! The decoder's flags and its configuration file. `ctd-decoder`, which uses them, and `keycell`, which
//! explains and checks them, share this definition.
//!
//! [`flags`] is the definition: parsing, the keys of the [`configuration`], help and the manual are
//! derived from it. [`parse`] reads a command line and the configuration into [`Settings`].
//! [`key_permissions`] finds out who else can read or change the keys that the settings name.

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
    /// What the run writes to standard output.
    pub task: Task,
    /// The directory with private keys, or a file with some.
    pub keys: Option<PathBuf>,
    /// Which algorithms may have been used to wrap a layer key.
    pub algorithms: MinAlgorithms,
    /// Who decrypts the layer.
    pub cipher: CipherSide,
    /// Whether a layer that is compressed with gzip is decompressed.
    pub decompress: bool,
    /// Where to look for the layer when there is no payload.
    pub content_store: ContentStore,
    /// If set, the whole layer is checked before its first byte is written, and is kept here until
    /// then.
    pub verify_first: Option<SpoolSettings>,
    /// Which guest runs.
    pub guest: GuestSettings,
    /// What is reported, and where.
    pub report: ReportSettings,
    /// Which of the operating system's walls are required.
    pub sandbox: SandboxSettings,
}

/// What a run writes to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// The plain layer.
    #[default]
    Layer,
    /// The key of the layer, for a key provider. No layer is read.
    LayerKey,
}

/// Which guest runs.
#[derive(Debug, PartialEq, Eq)]
pub struct GuestSettings {
    /// Its name, if it is not the default one.
    pub name: Option<String>,
    /// Where guests are installed.
    pub store: PathBuf,
    /// Whether only guests run whose signature was verified when they were installed.
    pub require_signature: bool,
}

/// What is reported, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct ReportSettings {
    /// Where each layer is logged.
    pub log: Destination,
    /// Whether names and fingerprints of keys are kept out of standard error.
    pub quiet_errors: bool,
    /// Whether standard error shows what each instance was granted.
    pub explain: bool,
}

/// Which of the operating system's walls are required.
#[derive(Debug, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The user to become before the guest runs.
    pub user: Option<String>,
    /// Whether the decoder refuses to run if a wall of the operating system is missing.
    pub is_required: bool,
}

/// containerd's content store.
#[derive(Debug, PartialEq, Eq)]
pub enum ContentStore {
    /// In the root directory of the containerd that calls or, if that is not known, in the usual ones.
    Default,
    /// Also in this root directory of containerd, or this directory itself.
    At(PathBuf),
    /// The store is not searched.
    Off,
}

/// Where `--verify-first` keeps the layer, and how long the layer may be.
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

/// Which algorithms may have been used to wrap a layer key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinAlgorithms {
    /// All algorithms of the format.
    Legacy,
    /// Only algorithms that are considered secure today.
    Modern,
}

/// Where each layer is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// The journal; without it, the system's log; without both, nothing.
    #[default]
    System,
    /// journald, in its native protocol.
    Journal,
    /// The system's log, in JSON.
    Syslog,
    /// A file, in JSON, with one event per line.
    File(PathBuf),
    /// No log.
    Off,
}

impl From<PathBuf> for Destination {
    /// Three words have a special meaning; everything else is the path of a file.
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("journal") => Self::Journal,
            Some("syslog") => Self::Syslog,
            Some("off") => Self::Off,
            _ => Self::File(path),
        }
    }
}
