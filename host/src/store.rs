//! containerd's content store: where a layer's wrapped keys stand when containerd passes no payload.
//!
//! containerd 2.x pulls through its transfer service by default, and that passes none; nor do `ctr
//! images pull`, `ctr images import`, or the unpacking of an image that was pulled earlier. At that
//! moment the store holds the image's manifest, and the encrypted layer. The host finds both by
//! comparing bytes, parses nothing, and leaves the manifests to the guest.

mod blobs;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::args::ContentStore;
use crate::contract::{Failure, Stored, StoredLayer};
use crate::failures::{no_payload, unreadable_layer};
use crate::input::Input;
use blobs::{Blobs, Digest};

/// What the names of annotations with wrapped keys begin with: the one thing that the host knows
/// about manifests.
const ENCRYPTED: &[u8] = b"org.opencontainers.image.enc.keys.";

/// What names of blobs begin with in a manifest.
const SHA256: &[u8] = b"sha256:";

/// Bytes of the layer that are compared: 4 KiB. Of a ciphertext, 64 do not repeat by chance; more
/// are dearer for whoever wants to make it happen, and cost nothing.
const BEGINNING: usize = 4096;

/// The longest manifest, in bytes: 4 MiB, as registries have it.
const MANIFEST: u64 = 4 * 1024 * 1024;

/// Manifests that the guest is handed, in number and in bytes together: 16 MiB.
const MANIFESTS: usize = 256;
const MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of JSON that are read in search of them: 256 MiB, the manifests and configurations of
/// ten thousand images.
const READ: u64 = 256 * 1024 * 1024;

/// Blobs that manifests name and that are compared with the layer: a node with more encrypted
/// layers is not known.
const COMPARED: usize = 65_536;

/// How long all of it may take, in seconds. A store of 100,000 blobs takes a fraction of one, unless
/// the disk or the machine is busy.
const SECONDS: u64 = 20;

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
    /// The layer itself, where the store holds it and no other blob begins in the same way.
    pub blob: Option<File>,
    /// In words, for the log.
    pub shown: String,
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
    /// It holds so many blobs, and no manifest of an encrypted layer among them.
    Bare {
        /// The stores, as messages name them.
        shown: String,
        /// How many blobs they hold.
        blobs: usize,
        /// What ended the search early.
        stopped: Option<&'static str>,
    },
}

/// Looks for the layer at the beginning of `input`, which is read ahead and put back.
///
/// # Errors
/// [`StoreFault`]: then nothing was read of `input`. And an input that cannot be read.
///
/// # Ambient Authority
/// Reads the store with the rights of this process.
pub fn look(place: &ContentStore, input: &mut Input) -> Result<Found, Failure> {
    let stores = open(place).map_err(no_payload)?;
    let shown = stores.iter().map(|store| store.shown.as_str()).collect::<Vec<_>>().join("`, `");
    let mut search = Search::new(input);
    for store in &stores {
        search.store(store)?;
    }
    if search.manifests.is_empty() {
        let (blobs, stopped) = (search.blobs, search.stopped);
        return Err(no_payload(StoreFault::Bare { shown, blobs, stopped }));
    }
    Ok(search.found(&shown))
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
    let (mut stores, mut closed) = (Vec::new(), None);
    for root in roots {
        match Blobs::open(&root) {
            Ok(blobs) => stores.push(blobs),
            Err(error) if is_absent(&error) => {}
            Err(error) => closed = closed.or(Some(StoreFault::Closed(root, error))),
        }
    }
    match (stores.is_empty(), closed, place) {
        (false, ..) => Ok(stores),
        (true, Some(closed), _) => Err(closed),
        (true, None, ContentStore::At(path)) => Err(StoreFault::Other(path.clone())),
        (true, None, _) => Err(StoreFault::Absent),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

struct Search<'i> {
    input: &'i mut Input,
    /// The first bytes of the layer, read once there is something to compare them with.
    beginning: Option<Vec<u8>>,
    /// When the search has to end.
    end: Instant,
    /// Bytes of JSON that were read.
    read: u64,
    /// Blobs that were seen.
    blobs: usize,
    /// Blobs that were compared with the layer, and those that begin as it does.
    compared: HashSet<Digest>,
    equal: Vec<(Digest, u64, File)>,
    /// The manifests that name one of those. Before one is found: any.
    manifests: Vec<Vec<u8>>,
    bytes: usize,
    /// What ended the search early.
    stopped: Option<&'static str>,
}

impl<'i> Search<'i> {
    fn new(input: &'i mut Input) -> Self {
        Self {
            input,
            beginning: None,
            end: Instant::now() + Duration::from_secs(SECONDS),
            read: 0,
            blobs: 0,
            compared: HashSet::new(),
            equal: Vec::new(),
            manifests: Vec::new(),
            bytes: 0,
            stopped: None,
        }
    }

    /// Looks at what may be a manifest, the newest first.
    fn store(&mut self, store: &Blobs) -> Result<(), Failure> {
        let (total, small) = store.newest_first(MANIFEST, self.end);
        self.blobs += total;
        for digest in small {
            self.stopped = self.limit();
            if self.stopped.is_some() {
                break;
            }
            // What vanishes meanwhile, or cannot be read, is as good as not there.
            let Ok(Some(bytes)) = self.json(store, &digest) else { continue };
            if memmem::find(&bytes, ENCRYPTED).is_some() {
                self.manifest(store, bytes)?;
            }
        }
        Ok(())
    }

    fn limit(&self) -> Option<&'static str> {
        match self {
            _ if Instant::now() > self.end => Some("20 seconds"),
            _ if self.read > READ => Some("256 MiB of JSON"),
            _ if self.compared.len() > COMPARED => Some("65536 layers"),
            _ => None,
        }
    }

    /// The bytes of a blob, if they begin as those of a JSON object do.
    fn json(&mut self, store: &Blobs, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        let Some((mut file, size)) = store.file(digest)? else { return Ok(None) };
        let mut bytes = vec![0; size.min(MANIFEST) as usize];
        let first = bytes.len().min(BEGINNING);
        let mut length = blobs::fill(&mut file, &mut bytes[..first])?;
        if bytes[..length].trim_ascii_start().first() != Some(&b'{') {
            return Ok(None);
        }
        length += blobs::fill(&mut file, &mut bytes[length..])?;
        bytes.truncate(length);
        self.read += length as u64;
        Ok(Some(bytes))
    }

    /// Keeps a manifest if it names a blob that begins as the layer does.
    fn manifest(&mut self, store: &Blobs, manifest: Vec<u8>) -> Result<(), Failure> {
        let is_first = self.equal.is_empty();
        let mut names_it = false;
        for name in named(&manifest) {
            names_it |= self.compare(store, name)?;
        }
        if names_it && is_first {
            self.manifests.clear();
            self.bytes = 0;
        }
        if (names_it || is_first) && self.manifests.len() < MANIFESTS {
            self.bytes += manifest.len();
            self.manifests.push(manifest);
        }
        // The largest goes first: a few that are as long as can be do not crowd out the others.
        while self.bytes > MANIFEST_BYTES {
            let sizes = self.manifests.iter().enumerate();
            let Some((largest, _)) = sizes.max_by_key(|(_, manifest)| manifest.len()) else {
                break;
            };
            self.bytes -= self.manifests.remove(largest).len();
        }
        Ok(())
    }

    fn compare(&mut self, store: &Blobs, name: Digest) -> Result<bool, Failure> {
        if !self.compared.insert(name) {
            return Ok(self.equal.iter().any(|(known, ..)| *known == name));
        }
        let beginning = match self.beginning.take() {
            Some(beginning) => beginning,
            None => {
                let waiting = Instant::now();
                let beginning = self.input.read_ahead(BEGINNING).map_err(unreadable_layer)?;
                self.end += waiting.elapsed(); // that was not the store's time
                beginning
            }
        };
        let found = store.begins_with(&name, &beginning, beginning.len() < BEGINNING);
        self.beginning = Some(beginning);
        match found {
            Ok(Some((file, size))) => self.equal.push((name, size, file)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn found(mut self, shown: &str) -> Found {
        let layers = self.equal.iter().map(|(name, size, _)| StoredLayer {
            digest: format!("sha256:{}", String::from_utf8_lossy(name)),
            size: *size,
        });
        let layers: Vec<_> = layers.collect();
        let manifests = self.manifests.len();
        let mut shown = match layers.as_slice() {
            [] => format!(
                "no payload, and no layer like this in `{shown}`, but {manifests} \
                           manifests of encrypted ones"
            ),
            [layer] => {
                format!("no payload, but `{}` in `{shown}`, named by {manifests}", layer.digest)
            }
            layers => {
                format!("no payload, but {} layers that begin like this in `{shown}`", layers.len())
            }
        };
        if let Some(limit) = self.stopped {
            shown += &format!("; stopped looking after {limit}");
        }
        let blob = if self.equal.len() == 1 { self.equal.pop() } else { None };
        let beginning = self.beginning.unwrap_or_default();
        let stored = Stored { manifests: self.manifests, layers, beginning };
        Found { stored, blob: blob.map(|(.., file)| file), shown }
    }
}

/// Everything in `bytes` that looks like the name of a blob.
fn named(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    memmem::find_iter(bytes, SHA256).filter_map(|place| {
        let digits = bytes[place + SHA256.len()..].first_chunk().copied();
        digits.filter(|digits: &Digest| blobs::is_digest(digits))
    })
}
