//! The search for the layer and for the manifests that name it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use keycell_content_store::Places;
use keycell_core::contract::{Stored, StoredLayer};
use memchr::memmem;
use ocicrypt::layer::LayerError;

use crate::input::layer::EncryptedLayer;
use crate::report::failure::Ending;

use super::blobs::{self, Blobs, Comparison};
use super::digest::Digest;
use super::error::{self, Bound, ContentStoreError};
use super::{Found, Manifests};

/// The prefix of the names of annotations with wrapped keys. It is the only thing that the host knows
/// about manifests.
const ENCRYPTED: &[u8] = b"org.opencontainers.image.enc.keys.";

/// How many bytes of the layer are compared: 4 KiB. In a ciphertext, 64 bytes do not repeat by chance.
/// More bytes make it more expensive for an attacker to produce a repetition, and cost nothing.
const BEGINNING: usize = 4096;

/// The longest manifest, in bytes: 8 MiB. Registries accept 4 MiB.
const MANIFEST: u64 = 8 * 1024 * 1024;

/// The most manifests that are passed to the guest, by number and by bytes together (16 MiB).
const MANIFESTS: usize = 256;
const MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// The most bytes of JSON that are read to find them: 256 MiB, which is the size of the manifests and
/// configurations of ten thousand images.
const READ: u64 = 256 * 1024 * 1024;

/// The most blobs that manifests name and that are compared with the layer. No known node has more
/// encrypted layers.
const COMPARED: usize = 65_536;

/// The most blobs that begin as the layer does. Normally there is one; others exist only if someone
/// made them.
const ALIKE: usize = 64;

/// How long the whole search may take, in seconds. A store of 100,000 blobs takes a fraction of a
/// second, unless the disk or the machine is busy.
const SECONDS: u64 = 20;

/// The most manifests that a message names.
const NAMED: usize = 8;

pub(super) struct Search<'i> {
    stores: &'i [Blobs],
    input: &'i mut EncryptedLayer,
    /// The first bytes of the layer. They are read when there is something to compare them with.
    beginning: Option<Vec<u8>>,
    /// When the search must end.
    end: Instant,
    /// Bytes of JSON that were read.
    read: u64,
    /// Blobs that were seen.
    blobs: usize,
    /// Blobs that begin differently from the layer.
    different: HashSet<Digest>,
    /// Blobs that begin as the layer does, and their sizes.
    equal: Vec<(Digest, u64)>,
    /// The manifests that name one of the equal blobs, or, until such a blob is found, all manifests.
    manifests: Vec<(Digest, Vec<u8>)>,
    bytes: usize,
}

impl<'i> Search<'i> {
    pub(super) fn new(stores: &'i [Blobs], input: &'i mut EncryptedLayer) -> Self {
        Self {
            stores,
            input,
            beginning: None,
            end: Instant::now() + Duration::from_secs(SECONDS),
            read: 0,
            blobs: 0,
            different: HashSet::new(),
            equal: Vec::new(),
            manifests: Vec::new(),
            bytes: 0,
        }
    }

    /// Checks every blob that may be a manifest, the newest first.
    pub(super) fn run(&mut self) -> Result<(), Ending> {
        for store in self.stores {
            let listing = store.list(MANIFEST, self.end);
            let listing = listing.map_err(|error| unreadable(store, None, error))?;
            self.blobs += listing.total;
            self.check(listing.stopped)?;
            for digest in listing.small {
                self.check((Instant::now() > self.end).then_some(Bound::Time))?;
                let json = self.json(store, &digest);
                let json = json.map_err(|error| unreadable(store, Some(&digest), error))?;
                self.check((self.read > READ).then_some(Bound::Json))?;
                if let Some(bytes) = json
                    && memmem::find(&bytes, ENCRYPTED).is_some()
                {
                    self.manifest(digest, bytes)?;
                }
            }
        }
        // These bounds are checked only now, because manifests of other layers are dropped when the
        // layer is found.
        let (count, bytes) = (self.manifests.len(), self.bytes);
        self.check((count > MANIFESTS).then_some(Bound::Manifests))?;
        self.check((bytes > MANIFEST_BYTES).then_some(Bound::ManifestBytes))
    }

    /// Fails if a bound was reached.
    fn check(&self, reached: Option<Bound>) -> Result<(), Ending> {
        let Some(bound) = reached else { return Ok(()) };
        let manifests = match bound {
            Bound::Manifests | Bound::ManifestBytes if !self.equal.is_empty() => {
                self.manifests.iter().map(|(digest, _)| digest.clone()).take(NAMED).collect()
            }
            _ => Vec::new(),
        };
        let has_layer = !self.equal.is_empty();
        let stores = self.paths();
        Err(ContentStoreError::Unfinished { stores, bound, has_layer, manifests }.into())
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.stores.iter().map(|store| store.path.clone()).collect()
    }

    /// The bytes of a blob, if they begin as those of a JSON object do. A blob that is removed
    /// meanwhile counts as absent.
    fn json(&mut self, store: &Blobs, digest: &Digest) -> std::io::Result<Option<Vec<u8>>> {
        let Some((mut file, size)) = store.file(digest)? else { return Ok(None) };
        let size = size.min(MANIFEST) as usize;
        let mut bytes = vec![0; size.min(BEGINNING)];
        let mut length = blobs::fill(&mut file, &mut bytes)?;
        if bytes[..length].trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
            return Ok(None);
        }
        bytes.resize(size, 0);
        length += blobs::fill(&mut file, &mut bytes[length..])?;
        bytes.truncate(length);
        self.read += length as u64;
        Ok(Some(bytes))
    }

    /// Keeps a manifest if it names a blob that begins as the layer does.
    fn manifest(&mut self, digest: Digest, manifest: Vec<u8>) -> Result<(), Ending> {
        let is_first = self.equal.is_empty();
        let mut names_it = false;
        for name in named(&manifest) {
            names_it |= self.compare(name)?;
        }
        if names_it && is_first {
            self.manifests.clear();
            self.bytes = 0;
        }
        if !names_it && !self.equal.is_empty() {
            return Ok(());
        }
        self.bytes += manifest.len();
        // For surplus manifests, the digest is enough.
        let keeps = self.manifests.len() < MANIFESTS && self.bytes <= MANIFEST_BYTES;
        self.manifests.push((digest, if keeps { manifest } else { Vec::new() }));
        Ok(())
    }

    fn compare(&mut self, name: Digest) -> Result<bool, Ending> {
        if self.equal.iter().any(|(known, _)| *known == name) {
            return Ok(true);
        }
        if self.different.contains(&name) {
            return Ok(false);
        }
        if self.beginning.is_none() {
            let waiting = Instant::now();
            self.beginning = Some(self.input.peek(BEGINNING).map_err(LayerError::from)?);
            self.end += waiting.elapsed(); // that time was not spent on the store
        }
        self.check((Instant::now() > self.end).then_some(Bound::Time))?;
        match self.find(&name)? {
            // A manifest can name any number of absent blobs: only the time bounds them.
            Comparison::Absent => Ok(false),
            Comparison::Different => {
                self.different.insert(name);
                self.check((self.different.len() > COMPARED).then_some(Bound::Compared))?;
                Ok(false)
            }
            Comparison::Equal(size) => {
                self.equal.push((name, size));
                self.check((self.equal.len() > ALIKE).then_some(Bound::Alike))?;
                Ok(true)
            }
        }
    }

    /// Compares the blob of this name with the layer, whichever store holds it.
    fn find(&self, name: &Digest) -> Result<Comparison, Ending> {
        let beginning = self.beginning.as_deref().unwrap_or_default();
        let whole = beginning.len() < BEGINNING;
        let mut found = Comparison::Absent;
        for store in self.stores {
            let compared = store.begins_with(name, beginning, whole);
            match compared.map_err(|error| unreadable(store, Some(name), error))? {
                Comparison::Absent => {}
                Comparison::Different => found = Comparison::Different,
                equal @ Comparison::Equal(_) => return Ok(equal),
            }
        }
        Ok(found)
    }

    pub(super) fn found(self, places: &Places<'_>) -> Result<Found, Ending> {
        let (stores, blobs) = (self.paths(), self.blobs);
        if self.manifests.is_empty() {
            let unknown = places.caller().err().cloned();
            return Err(ContentStoreError::Bare { stores, blobs, unknown }.into());
        }
        let shown = error::listed(&stores);
        let blob = match self.equal.as_slice() {
            [(digest, _)] => self.open(digest)?,
            _ => None,
        };
        let count = self.manifests.len();
        let shown = match self.equal.as_slice() {
            [] => format!(
                "no payload, and no layer like this in {shown}, but {count} manifests of \
                 encrypted ones"
            ),
            [(digest, _)] => {
                format!("no payload, but `{digest}` in {shown}, named by {count}")
            }
            layers => {
                format!("no payload, but {} layers that begin like this in {shown}", layers.len())
            }
        };
        let layers = self.equal.into_iter();
        let layers = layers.map(|(digest, size)| StoredLayer { digest: digest.to_string(), size });
        let layers = layers.collect();
        let (digests, manifests) = self.manifests.into_iter().unzip();
        let beginning = self.beginning.unwrap_or_default();
        let stored = Stored { manifests, layers, beginning };
        Ok(Found { stored, manifests: Manifests { digests, stores }, blob, shown })
    }

    fn open(&self, digest: &Digest) -> Result<Option<std::fs::File>, Ending> {
        for store in self.stores {
            let found =
                store.file(digest).map_err(|error| unreadable(store, Some(digest), error))?;
            if let Some((file, _)) = found {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

fn unreadable(store: &Blobs, blob: Option<&Digest>, error: std::io::Error) -> Ending {
    ContentStoreError::Unreadable { store: store.path.clone(), blob: blob.cloned(), error }.into()
}

/// Everything in `bytes` that looks like the digest of a blob.
fn named(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    memmem::find_iter(bytes, b"sha").filter_map(|place| Digest::at_start_of(&bytes[place..]))
}
