//! containerd on this node: the one that runs, its version, its configuration from all files, and the
//! part of the configuration that Keycell needs.

mod choices;
mod config;
mod cri;
mod decompressor;
mod found;
mod generated;
mod import_glob;
mod imports;
mod install;
mod plugins;
mod processor;
mod pull;
mod running;
mod snapshotter;
mod snippet;
mod transaction;
mod uninstall;
mod version;

pub use choices::Choices;
pub use config::{Config, Route};
pub use decompressor::{decompressor, is_faster_than_decoder};
pub use found::Found;
pub use generated::{Generator, unit};
pub use install::{Change, Installation, Wanted, install};
pub use processor::Processor;
pub use pull::Pull;
pub use running::{Running, search_path};
pub use snapshotter::{Unpacking, unpacking};
pub use snippet::snippet;
pub use uninstall::remove;
pub use version::Version;

/// The configuration file that containerd reads by default.
pub const CONFIG: &str = "/etc/containerd/config.toml";

/// The processors that get a payload from containerd.
pub const WITH_PAYLOAD: [&str; 2] =
    ["io.containerd.ocicrypt.decoder.v1.tar.gzip", "io.containerd.ocicrypt.decoder.v1.tar"];

/// The keys directory that containerd's defaults name.
pub const KEYS: &str = "/etc/containerd/ocicrypt/keys";
