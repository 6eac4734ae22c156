//! containerd's content store: where a layer's wrapped keys stand when containerd passes no payload.
//!
//! containerd 2.x pulls through its transfer service by default, and that passes none; nor do `ctr
//! images pull`, `ctr images import`, or the unpacking of an image that was pulled earlier. At that
//! moment the store holds the image's manifest, and the encrypted layer. The host finds both by
//! comparing bytes, parses nothing, and leaves the manifests to the guest.
//!
//! The manifest that is pulled may be any of those that are found. So the search is complete, or it
//! fails: a manifest that was left out could be the genuine one, and the next one a stranger's.

mod blobs;
pub mod failures;
mod search;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::ContentStore;
use crate::contract::Stored;
use crate::failures::{Ending, no_payload};
use crate::input::Input;
use blobs::Blobs;
use search::Search;

pub use blobs::Digest;

/// Where containerd keeps its content store below its root.
const BELOW_ROOT: &str = "io.containerd.content.v1.content";

/// containerd's usual roots: its own, and those of the distributions that bring it along.
const ROOTS: [&str; 6] = [
    "/var/lib/containerd",
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/lib/rancher/rke2/agent/containerd",
    "/var/lib/k0s/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
    "/var/lib/docker/containerd/daemon",
];

/// What the store has about the layer.
pub struct Found {
    /// For the guest.
    pub stored: Stored,
    /// The digests of the manifests in `stored`, in the same order.
    pub manifests: Manifests,
    /// The layer itself, where the store holds it and no other blob begins in the same way.
    pub blob: Option<File>,
    /// In words, for the log.
    pub shown: String,
}

/// The digests of manifests.
#[derive(Default)]
pub struct Manifests(pub Vec<Digest>);

impl Manifests {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those at these places.
    pub fn at(&self, places: &[u32]) -> Vec<Digest> {
        let digest = |place: &u32| self.0.get(usize::try_from(*place).ok()?).cloned();
        places.iter().filter_map(digest).collect()
    }
}

/// A bound of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Of its time.
    Time,
    /// Of blobs in a store.
    Blobs,
    /// Of bytes that are read in search of manifests.
    Json,
    /// Of blobs that are compared with the layer.
    Compared,
    /// Of blobs that begin as the layer does.
    Alike,
    /// Of manifests.
    Manifests,
    /// Of their bytes together.
    ManifestBytes,
}

/// Why the store was of no use.
pub enum StoreFault {
    /// The operator has turned it off.
    Off,
    /// There is none at any of the usual places.
    Absent,
    /// What was named is none.
    Other(PathBuf),
    /// It cannot be read, and why.
    Closed(PathBuf, io::Error),
    /// A blob of it, or the list of them, cannot be read, and why.
    Unreadable(String, Option<Digest>, io::Error),
    /// It holds so many blobs, and no manifest of an encrypted layer among them.
    Bare {
        /// The stores, as messages name them.
        shown: String,
        /// How many blobs they hold.
        blobs: usize,
    },
    /// The search reached a bound, so a manifest may have been left out.
    Unfinished {
        /// The stores, as messages name them.
        shown: String,
        /// Which bound.
        bound: Bound,
        /// Whether a blob was found that begins as the layer does.
        has_layer: bool,
        /// Manifests of which there are too many.
        manifests: Vec<Digest>,
    },
}

/// Looks for the layer at the beginning of `input`, which is read ahead and put back.
///
/// # Errors
/// [`StoreFault`]. And an input that cannot be read.
///
/// # Ambient Authority
/// Reads the store with the rights of this process.
pub fn look(place: &ContentStore, input: &mut Input) -> Result<Found, Ending> {
    let stores = open(place).map_err(no_payload)?;
    let mut search = Search::new(&stores, input);
    search.run()?;
    search.found()
}

/// The roots of containerd that are looked for, for messages.
pub fn usual_roots() -> String {
    ROOTS.map(|root| format!("`{root}`")).join(", ")
}

fn open(place: &ContentStore) -> Result<Vec<Blobs>, StoreFault> {
    let roots: Vec<PathBuf> = match place {
        ContentStore::Off => return Err(StoreFault::Off),
        ContentStore::Usual => ROOTS.iter().map(|root| Path::new(root).join(BELOW_ROOT)).collect(),
        // Either will do.
        ContentStore::At(path) => vec![path.join(BELOW_ROOT), path.clone()],
    };
    let mut stores = Vec::new();
    for root in roots {
        match Blobs::open(&root) {
            Ok(blobs) => stores.push(blobs),
            Err(error) if is_absent(&error) => {}
            // One that cannot be read may be the one that counts.
            Err(error) => return Err(StoreFault::Closed(root, error)),
        }
    }
    match (stores.is_empty(), place) {
        (false, _) => Ok(stores),
        (true, ContentStore::At(path)) => Err(StoreFault::Other(path.clone())),
        (true, _) => Err(StoreFault::Absent),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
