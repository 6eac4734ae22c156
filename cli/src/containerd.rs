//! What containerd is told about encrypted layers: its version, its configuration as it comes
//! together from all files, and the part of it that Keycell needs.

mod config;
mod import_glob;
mod install;
mod snippet;
mod version;

pub use config::{Config, Processor};
pub use install::{Installation, install, remove};
pub use snippet::snippet;
pub use version::Version;

/// The file that containerd reads unless it is told otherwise.
pub const CONFIG: &str = "/etc/containerd/config.toml";

/// Where k3s and RKE2 have theirs, which they write anew at each start.
pub const RANCHER: [&str; 2] = [
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
];

/// The processors that containerd hands a payload to.
pub const WITH_PAYLOAD: [&str; 2] =
    ["io.containerd.ocicrypt.decoder.v1.tar.gzip", "io.containerd.ocicrypt.decoder.v1.tar"];

/// Where containerd's own configuration looks for keys.
pub const KEYS: &str = "/etc/containerd/ocicrypt/keys";
