//! containerd's content store: it holds a layer's wrapped keys when containerd passes no payload.
//!
//! containerd 2.x pulls through its transfer service by default, which passes no payload. `ctr images
//! pull`, `ctr images import` and the unpacking of an image that was pulled earlier pass none either.
//! At that moment the store holds the image's manifest and the encrypted layer. The host finds both by
//! comparing bytes, parses nothing, and leaves the manifests to the guest.
//!
//! The manifest that is being pulled may be any of those that are found. So the search is complete or
//! it fails: a manifest that was left out could be the genuine one, and the next one an attacker's.

mod blobs;
mod digest;
mod error;
mod search;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use keycell_core::contract::Stored;
use keycell_settings::ContentStore;

use crate::report::failure::Ending;

use super::layer::EncryptedLayer;
use blobs::Blobs;
use digest::Digest;
use search::Search;

pub use error::{ContentStoreError, ambiguous};

/// Where containerd keeps its content store below its root.
const BELOW_ROOT: &str = "io.containerd.content.v1.content";

/// containerd's default roots: its own, and those of the distributions that include it.
const ROOTS: [&str; 6] = [
    "/var/lib/containerd",
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/lib/rancher/rke2/agent/containerd",
    "/var/lib/k0s/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
    "/var/lib/docker/containerd/daemon",
];

/// What the store holds for the layer.
pub struct Found {
    /// What the guest gets.
    pub stored: Stored,
    /// The digests of the manifests in `stored`, in the same order.
    pub manifests: Manifests,
    /// The layer itself, if the store holds it and no other blob begins in the same way.
    pub blob: Option<File>,
    /// What was found, as a note for the log.
    pub shown: String,
}

/// The digests of manifests.
#[derive(Default)]
pub struct Manifests(Vec<Digest>);

impl Manifests {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The digests with these indices.
    pub fn at(&self, indices: &[u32]) -> Vec<String> {
        let digest = |index: &u32| Some(self.0.get(usize::try_from(*index).ok()?)?.to_string());
        indices.iter().filter_map(digest).collect()
    }
}

/// Looks for the layer that begins as `input` does. It peeks at `input`.
///
/// # Errors
/// [`ContentStoreError`], or the layer cannot be read.
///
/// # Ambient Authority
/// Reads the store with the rights of this process.
pub fn look(place: &ContentStore, input: &mut EncryptedLayer) -> Result<Found, Ending> {
    let stores = open(place)?;
    let mut search = Search::new(&stores, input);
    search.run()?;
    search.found()
}

fn open(place: &ContentStore) -> Result<Vec<Blobs>, ContentStoreError> {
    let roots: Vec<PathBuf> = match place {
        ContentStore::Off => return Err(ContentStoreError::Off),
        ContentStore::Default => {
            ROOTS.iter().map(|root| Path::new(root).join(BELOW_ROOT)).collect()
        }
        // The path may be containerd's root or the store itself.
        ContentStore::At(path) => vec![path.join(BELOW_ROOT), path.clone()],
    };
    let mut stores = Vec::new();
    for root in roots {
        match Blobs::open(&root) {
            Ok(blobs) => stores.push(blobs),
            Err(error) if is_absent(&error) => {}
            // A store that cannot be read may hold the right manifest.
            Err(error) => return Err(ContentStoreError::Closed { root, error }),
        }
    }
    match (stores.is_empty(), place) {
        (false, _) => Ok(stores),
        (true, ContentStore::At(path)) => Err(ContentStoreError::Other { path: path.clone() }),
        (true, _) => Err(ContentStoreError::Absent),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
