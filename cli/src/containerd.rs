//! containerd on this node: the one that runs, its version, its configuration from all files, and the
//! part of the configuration that Keycell needs.

mod config;
mod cri;
mod decompressor;
mod found;
mod import_glob;
mod install;
mod plugins;
mod processor;
mod pull;
mod running;
mod snapshotter;
mod snippet;
mod version;

pub use config::{Config, Route};
pub use decompressor::{decompressor, is_faster_than_decoder};
pub use found::Found;
pub use install::{Change, Installation, install, remove};
pub use processor::Processor;
pub use pull::Pull;
pub use running::Running;
pub use snapshotter::{Unpacking, unpacking};
pub use snippet::snippet;
pub use version::Version;

/// The configuration file that containerd reads by default.
pub const CONFIG: &str = "/etc/containerd/config.toml";

/// The processors that get a payload from containerd.
pub const WITH_PAYLOAD: [&str; 2] =
    ["io.containerd.ocicrypt.decoder.v1.tar.gzip", "io.containerd.ocicrypt.decoder.v1.tar"];

/// The keys directory that containerd's defaults name.
pub const KEYS: &str = "/etc/containerd/ocicrypt/keys";
