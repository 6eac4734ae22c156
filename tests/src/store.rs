//! A content store as containerd lays it out, made by hand, with arbitrary contents.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::image::{Descriptor, hex};
use crate::jwe::Recipient;
use crate::sealed::Sealed;

/// A separate content store. What is added later is newer.
pub struct ContentStore {
    dir: TempDir,
    blobs: PathBuf,
    /// How many blobs were added.
    age: std::cell::Cell<u64>,
}

impl ContentStore {
    /// Without a blob.
    pub fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-store-")?;
        let blobs = dir.path().join("io.containerd.content.v1.content/blobs/sha256");
        fs::create_dir_all(&blobs)?;
        Ok(Self { dir, blobs, age: Default::default() })
    }

    /// With one image of one layer.
    pub fn of(sealed: &Sealed, recipient: &Recipient) -> Result<Self> {
        let store = Self::new()?;
        store.image(sealed, recipient)?;
        Ok(store)
    }

    /// containerd's root, for `--content-store`.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The directory of the blobs.
    pub fn blobs(&self) -> &Path {
        &self.blobs
    }

    /// Adds a layer, and a manifest that names it.
    pub fn image(&self, sealed: &Sealed, recipient: &Recipient) -> Result<PathBuf> {
        self.blob(&sealed.encrypted)?;
        let wrapped = sealed.wrapped_for(recipient).flattened().to_string();
        self.manifest(&[sealed.descriptor(&[wrapped])])
    }

    /// Adds a manifest with these layers.
    pub fn manifest(&self, layers: &[Descriptor]) -> Result<PathBuf> {
        self.blob(manifest(layers).to_string().as_bytes())
    }

    /// Adds a blob under its digest, as containerd does.
    pub fn blob(&self, bytes: &[u8]) -> Result<PathBuf> {
        self.named(&hex(&Sha256::digest(bytes)), bytes)
    }

    /// Adds a file under any name.
    pub fn named(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.blobs.join(name);
        fs::write(&path, bytes)?;
        // A file system may store the same time for writes that follow each other quickly.
        let age = self.age.get() + 1;
        self.age.set(age);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + age);
        File::options().write(true).open(&path)?.set_modified(time)?;
        Ok(path)
    }
}

/// A manifest with these layers.
pub fn manifest(layers: &[Descriptor]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{}", hex(&Sha256::digest(b"{}"))),
            "size": 2,
        },
        "layers": layers,
    })
}

/// A name that blobs have: this number in hexadecimal.
pub fn name(number: u64) -> String {
    format!("{number:064x}")
}
