//! OCI image layouts on disk (OCI image specification, section "Image Layout").

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use keycell_images::documents::{Descriptor, Document, Index, Manifest};

/// The largest index or manifest that is read, in bytes: 16 MiB. Registries refuse those above 4 MiB.
const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;

/// How deep indexes may be nested.
pub const MAX_DEPTH: usize = 4;

/// The name of an image: `DIR`, `oci:DIR` or `oci:DIR:TAG`.
pub struct Name {
    /// The directory of the layout.
    pub root: PathBuf,
    /// The tag, if one is named.
    pub tag: Option<String>,
    shown: String,
}

impl Name {
    /// Parses a name in skopeo's form. A colon in the name of an existing directory does not begin a
    /// tag.
    pub fn parse(name: &str) -> Self {
        let path = name.strip_prefix("oci:").unwrap_or(name);
        let (root, tag) = match path.rsplit_once(':') {
            Some((root, tag)) if !Path::new(path).exists() && !tag.contains('/') => {
                (root, Some(tag.to_owned()))
            }
            _ => (path, None),
        };
        Self { root: root.into(), tag, shown: name.to_owned() }
    }
}

/// One image of a layout.
pub struct Image {
    root: PathBuf,
    /// Its descriptor in `index.json`.
    pub entry: Descriptor,
}

/// A manifest of an image, with its descriptor.
pub struct Described {
    /// The descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
}

impl Image {
    /// Opens the image of this name.
    ///
    /// # Errors
    /// A directory that is no layout, a tag that it does not have, or several images without a tag.
    pub fn open(name: &str) -> Result<Self> {
        let Name { root, tag, shown } = Name::parse(name);
        let path = root.join("index.json");
        let index: Index = parse(&path, &read(&path)?)?;
        let tagged = |entry: &&Descriptor| tag.is_none() || entry.tag() == tag.as_deref();
        let entries: Vec<_> = index.manifests.iter().filter(tagged).collect();
        let [entry] = entries[..] else {
            let count = entries.len();
            bail!("`{shown}` names {count} images: name one as `oci:DIR:TAG`");
        };
        Ok(Self { root, entry: entry.clone() })
    }

    /// The descriptors of all layers, for every platform, in order.
    ///
    /// # Errors
    /// A document that is missing, altered or nested too deeply.
    pub fn layers(&self) -> Result<Vec<Descriptor>> {
        Ok(self.manifests()?.into_iter().flat_map(|it| it.manifest.layers).collect())
    }

    /// All manifests, in order, with those that indexes list.
    ///
    /// # Errors
    /// A document that is missing, altered or nested too deeply.
    pub fn manifests(&self) -> Result<Vec<Described>> {
        let mut manifests = Vec::new();
        self.collect(&self.entry, 0, &mut manifests)?;
        Ok(manifests)
    }

    fn collect(
        &self,
        descriptor: &Descriptor,
        depth: usize,
        into: &mut Vec<Described>,
    ) -> Result<()> {
        ensure!(depth <= MAX_DEPTH, "image indexes are nested too deeply");
        match self.document(descriptor)? {
            Document::Index(index) => {
                let mut listed = index.manifests.iter();
                listed.try_for_each(|entry| self.collect(entry, depth + 1, into))
            }
            Document::Manifest(manifest) => {
                into.push(Described { descriptor: descriptor.clone(), manifest: *manifest });
                Ok(())
            }
        }
    }

    /// The document that a descriptor names: its digest is checked.
    ///
    /// # Errors
    /// A document that is missing, too long, altered, or not JSON.
    pub fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        let path = self.blob(descriptor)?;
        let bytes = read(&path)?;
        let found = sha256(&Sha256::digest(&bytes));
        ensure!(
            found == descriptor.digest(),
            "`{}` was altered: its digest is `{found}`",
            path.display()
        );
        parse(&path, &bytes)
    }

    /// The path of a blob.
    ///
    /// # Errors
    /// A digest that is missing, malformed, or of another algorithm than SHA-256.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<PathBuf> {
        Ok(self.root.join(blob_path(descriptor)?))
    }
}

/// The path of a blob within a layout.
///
/// # Errors
/// A digest that is missing, malformed, or of another algorithm than SHA-256.
pub fn blob_path(descriptor: &Descriptor) -> Result<PathBuf> {
    digest_path(descriptor.digest.as_deref().context("a descriptor has no digest")?)
}

/// The path of the blob with this digest within a layout.
///
/// # Errors
/// A digest that is missing, malformed, or of another algorithm than SHA-256.
pub fn digest_path(digest: &str) -> Result<PathBuf> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    let hex = hex.with_context(|| format!("`{}` is not a digest", digest.escape_debug()))?;
    Ok(Path::new("blobs/sha256").join(hex))
}

/// A SHA-256 digest in the form `sha256:HEX`.
pub fn sha256(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read `{shown}`"))?;
    ensure!(bytes.len() as u64 <= MAX_DOCUMENT, "`{shown}` is longer than 16 MiB");
    Ok(bytes)
}

/// Parses the document that was read from `path`.
///
/// # Errors
/// Bytes that are not JSON, or JSON that is no such document.
pub fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let shown = path.display();
    let value: serde_json::Value =
        serde_json::from_slice(bytes).with_context(|| format!("`{shown}` is not JSON"))?;
    serde_json::from_value(value).with_context(|| format!("`{shown}` is malformed"))
}
