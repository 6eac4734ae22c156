//! `docker-archive:` as a source: what `docker save` writes.
//!
//! Such an archive has no manifest and, mostly, no compressed layers. The image gets an OCI manifest, and
//! layers that are not compressed are compressed with gzip when the image is opened: once they are encrypted,
//! nothing can compress them.

mod layer;

use std::fs::File;
use std::io::{Cursor, Read};

use serde::Deserialize;
use serde_json::json;

use super::entries::{Archive, Extent, Part};
use super::{INDEX, MANIFEST};
use crate::choice::{ArchiveFile, Choice, Chosen};
use crate::digest;
use crate::documents::Descriptor;
use crate::error::{ArchiveError, Error, Result};
use crate::place::{Source, parse};
use crate::registry::Reference;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// All layers are compressed with gzip.
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The number of images that an error names.
const SHOWN: usize = 8;

/// Opens an image in an archive of `docker save`.
///
/// # Errors
/// What is no such archive, or does not hold the image.
pub fn open(file: &ArchiveFile, choice: &Choice) -> Result<Box<dyn Source>> {
    let named = |choice: &Choice| Chosen("docker-archive", file, choice).to_string();
    let archive = Archive::open(file)?;
    if !archive.has(MANIFEST) && archive.has(INDEX) {
        return Err(ArchiveError::OtherTransport {
            archive: archive.shown().to_owned(),
            path: MANIFEST,
            name: Chosen("oci-archive", file, choice).to_string(),
        }
        .into());
    }
    let items: Vec<Item> = parse(MANIFEST, &archive.document(MANIFEST)?)?;
    let item = choose(&items, choice, named)?;
    Ok(Box::new(DockerArchive::new(archive, item, named(choice))?))
}

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Item {
    fn has(&self, reference: &Reference) -> bool {
        let tags = self.repo_tags.iter().flatten();
        tags.filter_map(|tag| Reference::parse(tag).ok()).any(|tag| tag == *reference)
    }
}

fn choose<'a>(
    items: &'a [Item],
    choice: &Choice,
    named: impl Fn(&Choice) -> String,
) -> Result<&'a Item> {
    let chosen: Vec<&Item> = match choice {
        Choice::Only => items.iter().collect(),
        Choice::Named(name) => {
            let reference = Reference::parse(name)?;
            items.iter().filter(|item| item.has(&reference)).collect()
        }
        Choice::Index(index) => items.get(*index).into_iter().collect(),
        Choice::Digest(_) => Vec::new(),
    };
    if let [item] = chosen[..] {
        return Ok(item);
    }
    let others = items.iter().take(SHOWN).enumerate().map(|(index, item)| {
        let unique = |tag: &&String| {
            let reference = Reference::parse(tag).ok();
            reference.is_some_and(|tag| items.iter().filter(|item| item.has(&tag)).count() == 1)
        };
        let tag = item.repo_tags.iter().flatten().find(unique);
        named(&tag.map_or(Choice::Index(index), |tag| Choice::Named(tag.clone())))
    });
    Err(Error::HowMany { name: named(choice), count: chosen.len(), others: others.collect() })
}

/// The members of a configuration that say what the layers are.
#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

struct DockerArchive {
    archive: Archive,
    entry: Descriptor,
    manifest: Vec<u8>,
    config: Vec<u8>,
    layers: Vec<Layer>,
}

/// A layer, with its gzip compression.
struct Layer {
    digest: String,
    size: u64,
    content: Content,
}

enum Content {
    /// As it lies in the archive.
    Stored(Extent),
    /// Compressed by this program, into a file without a name.
    Compressed(File),
}

impl DockerArchive {
    /// `shown` is the name of the image.
    fn new(archive: Archive, item: &Item, shown: String) -> Result<Self> {
        let config = archive.document(&item.config)?;
        let Configuration { rootfs } = parse(&item.config, &config)?;
        let diff_ids = rootfs.diff_ids.unwrap_or_default();
        let paths = item.layers.clone().unwrap_or_default();
        if diff_ids.len() != paths.len() {
            let (layers, diff_ids) = (paths.len(), diff_ids.len());
            return Err(ArchiveError::Layers { layers, diff_ids }.into());
        }
        let layers = layer::all(&archive, &paths, &diff_ids, &shown)?;
        let describe = |media_type: &str, digest: &str, size: u64| json!({ "mediaType": media_type, "digest": digest, "size": size });
        let described = layers.order.iter().map(|place| &layers.distinct[*place]);
        let described = described.map(|layer| describe(LAYER_TYPE, &layer.digest, layer.size));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": describe(CONFIG_TYPE, &digest::of(&config), config.len() as u64),
            "layers": described.collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = Descriptor::default();
        entry.media_type = Some(MANIFEST_TYPE.to_owned());
        entry.digest = Some(digest::of(&manifest));
        entry.size = Some(manifest.len() as u64);
        Ok(Self { archive, entry, manifest, config, layers: layers.distinct })
    }
}

impl Source for DockerArchive {
    fn entry(&self) -> &Descriptor {
        &self.entry
    }

    fn holds(&self, document: &Descriptor) -> Result<bool> {
        Ok(document.digest == self.entry.digest)
    }

    fn open_document(&self, _descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Cursor::new(&self.manifest)))
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        match self.layers.iter().find(|layer| layer.digest == descriptor.digest()) {
            Some(Layer { content: Content::Stored(extent), .. }) => {
                Ok(Box::new(self.archive.read(*extent)))
            }
            Some(Layer { content: Content::Compressed(file), size, .. }) => {
                Ok(Box::new(Part::first(file, *size)))
            }
            None => Ok(Box::new(Cursor::new(&self.config))),
        }
    }
}
