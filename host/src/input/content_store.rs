//! containerd's content store: it holds a layer's wrapped keys when containerd passes no payload.
//!
//! containerd 2.x pulls through its transfer service by default, which passes no payload. `ctr images
//! pull`, `ctr images import` and the unpacking of an image that was pulled earlier pass none either.
//! At that moment the store holds the image's manifest and the encrypted layer. The host finds both by
//! comparing bytes, parses nothing, and leaves the manifests to the guest.
//!
//! The manifest that is being pulled may be any of those that are found. So the search is complete or
//! it fails: a manifest that was left out could be the genuine one, and the next one an attacker's.
//! `content-store/` decides which stores are searched.

mod blobs;
mod digest;
mod error;
mod search;

use std::fs::File;
use std::path::PathBuf;

use keycell_content_store::{Places, PlacesError};
use keycell_core::contract::Stored;
use keycell_diagnostic::hint::DecoderHint;
use keycell_settings::ContentStore;

use crate::report::failure::Ending;

use super::layer::EncryptedLayer;
use blobs::Blobs;
use digest::Digest;
use search::Search;

use error::ambiguous;

pub use error::ContentStoreError;

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
pub struct Manifests {
    digests: Vec<Digest>,
    /// The stores that hold them.
    stores: Vec<PathBuf>,
}

impl Manifests {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The digests with these indices.
    pub fn at(&self, indices: &[u32]) -> Vec<String> {
        let digest =
            |index: &u32| Some(self.digests.get(usize::try_from(*index).ok()?)?.to_string());
        indices.iter().filter_map(digest).collect()
    }

    /// All digests.
    pub fn digests(&self) -> impl Iterator<Item = String> {
        self.digests.iter().map(ToString::to_string)
    }

    /// Hints on how to find out which image is hostile, and how to remove it.
    pub fn ambiguous(&self) -> [DecoderHint; 3] {
        ambiguous(self.stores.clone())
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
    let places = Places::of(place, rustix::process::getppid());
    let stores = open(&places)?;
    let mut search = Search::new(&stores, input);
    search.run()?;
    search.found(&places)
}

fn open(places: &Places<'_>) -> Result<Vec<Blobs>, ContentStoreError> {
    let stores = places.open()?;
    let opened = stores.iter().map(|store| {
        let closed = |error| PlacesError::Closed { path: store.path.clone(), error };
        Blobs::open(store).map_err(closed)
    });
    Ok(opened.collect::<Result<_, _>>()?)
}
