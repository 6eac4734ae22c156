//! OCI image layouts on disk (OCI image specification, section "Image Layout").

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The annotation that carries a tag in `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image of a layout: its layers, for every platform.
pub struct Image {
    root: PathBuf,
    /// The descriptors of all layers, in order.
    pub layers: Vec<Value>,
}

impl Image {
    /// Opens `DIR`, `oci:DIR` or `oci:DIR:TAG`.
    ///
    /// # Errors
    /// Where that is no layout, has no such tag, or several images and none was named.
    pub fn open(name: &str) -> Result<Self> {
        let path = name.strip_prefix("oci:").unwrap_or(name);
        let (root, tag) = match path.rsplit_once(':') {
            Some((root, tag)) if !Path::new(path).exists() => (root, Some(tag)),
            _ => (path, None),
        };
        let root = PathBuf::from(root);
        let index = read(&root.join("index.json"))?;
        let tagged = |entry: &&Value| tag.is_none_or(|tag| entry["annotations"][REF_NAME] == *tag);
        let entries: Vec<_> = members(&index, "manifests").iter().filter(tagged).collect();
        let [entry] = entries[..] else {
            bail!("`{name}` names {} images: name one as `oci:DIR:TAG`", entries.len());
        };
        let mut image = Self { root, layers: Vec::new() };
        image.collect(entry, 0)?;
        Ok(image)
    }

    /// Where the bytes of a layer lie.
    ///
    /// # Errors
    /// A digest that is none.
    pub fn blob(&self, descriptor: &Value) -> Result<PathBuf> {
        let digest = descriptor["digest"].as_str().context("a descriptor has no digest")?;
        let (kind, hex) = digest.split_once(':').context("a digest has no algorithm")?;
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_plain(kind) || !is_plain(hex) {
            bail!("`{digest}` is not a digest");
        }
        Ok(self.root.join("blobs").join(kind).join(hex))
    }

    /// Follows indexes to their manifests.
    fn collect(&mut self, descriptor: &Value, depth: usize) -> Result<()> {
        let document = read(&self.blob(descriptor)?)?;
        if depth > 4 {
            bail!("image indexes are nested too deeply");
        }
        for manifest in members(&document, "manifests") {
            self.collect(manifest, depth + 1)?;
        }
        self.layers.extend(members(&document, "layers").iter().cloned());
        Ok(())
    }
}

fn members<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document[name].as_array().map_or(&[], Vec::as_slice)
}

fn read(path: &Path) -> Result<Value> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("`{shown}` is not JSON"))
}
