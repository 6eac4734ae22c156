//! containerd's version, its configuration from all files, and the part of the configuration that
//! Keycell needs.

mod config;
mod decompressor;
mod import_glob;
mod install;
mod snippet;
mod version;

pub use config::{Config, Processor};
pub use decompressor::{decompressor, is_faster_than_decoder};
pub use install::{Change, Installation, install, remove};
pub use snippet::snippet;
pub use version::Version;

/// The configuration file that containerd reads by default.
pub const CONFIG: &str = "/etc/containerd/config.toml";

/// The configuration files of k3s and RKE2, which write them at each start.
pub const RANCHER: [&str; 2] = [
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
];

/// The processors that get a payload from containerd.
pub const WITH_PAYLOAD: [&str; 2] =
    ["io.containerd.ocicrypt.decoder.v1.tar.gzip", "io.containerd.ocicrypt.decoder.v1.tar"];

/// The keys directory that containerd's defaults name.
pub const KEYS: &str = "/etc/containerd/ocicrypt/keys";
