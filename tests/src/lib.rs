//! End-to-end tests of the decoder: the real binary, called as containerd calls it, on images made
//! by the tools that make encrypted images.
//!
//! | module | what it holds |
//! |---|---|
//! | [`decoder`], [`outcome`] | one run of `ctd-decoder`, with containerd's descriptors, arguments and environment |
//! | [`events`] | what the decoder logs |
//! | [`payload`] | what containerd writes to descriptor 3 |
//! | [`image`] | OCI image layouts: plain ones from busybox, encrypted ones from skopeo |
//! | [`layout`] | OCI image layouts for several platforms, made by hand |
//! | [`forged`] | encrypted images of which nothing but the HMAC is wrong |
//! | [`archive`] | tar archives and their compressions, made by hand |
//! | [`sealed`], [`jwe`] | a writer of encrypted layers, in which every part can be damaged |
//! | [`node`] | a directory with one key, and what is expected of a decoder with it |
//! | [`store`] | a content store as containerd lays it out, made by hand
//! | [`keys`] | private keys from openssl, in every file form |
//! | [`gpg`] | OpenPGP keys from GnuPG |
//! | [`guest`] | a guest of a few lines |
//! | [`release`], [`containerd`], [`cri`], [`registry`] | the releases of containerd, a node with one, a client and a registry |
//! | [`faults`] | a proxy before a registry, which fails as networks and registries do |
//! | [`memo`] | fixtures that cases share |
//! | [`running`], [`tracing`] | a decoder that is stopped for inspection, and the contents of its memory |
//! | [`suite`], [`tools`] | cases with names, the programs that they need, and skips with reasons |
//!
//! The binaries come from `dist/` beside the workspace (made by `make`) or from `KEYCELL_DIST`.
//! `tests/install-tools.sh` installs the tools. With `CI` set, a missing tool is a failure.

pub mod archive;
pub mod containerd;
pub mod cri;
pub mod decoder;
mod descriptors;
pub mod elf;
pub mod events;
pub mod faults;
pub mod forged;
pub mod gpg;
pub mod guest;
pub mod gzip;
pub mod image;
pub mod imported;
pub mod jwe;
pub mod keys;
pub mod layout;
pub mod mapping;
pub mod memo;
pub mod node;
pub mod outcome;
pub mod payload;
pub mod registry;
pub mod release;
pub mod running;
pub mod sealed;
pub mod store;
pub mod suite;
pub mod swaps;
pub mod tools;
pub mod tracing;

use std::path::PathBuf;

use anyhow::{Result, ensure};

/// The path of one of our own binaries, made by `make`.
///
/// # Errors
///
/// When it has not been built: a test without a subject is a failure, not a skip.
pub fn dist(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("KEYCELL_DIST") {
        Some(dir) => PathBuf::from(dir),
        None => workspace().join("dist"),
    };
    let path = dir.join(name);
    ensure!(
        path.is_file(),
        "`{}` does not exist: run `make` first, or set KEYCELL_DIST",
        path.display()
    );
    Ok(path.canonicalize()?)
}

/// The folder that holds everything.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
