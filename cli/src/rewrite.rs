//! Copies an image and replaces some of its layers, with new blobs, manifests, indexes and digests.
//! Everything else is copied unchanged.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::layer_selection::Selection;
use crate::layout::{Image, MAX_DEPTH, sha256};
use crate::layout_writer::Target;
use crate::progress::Progress;
use keycell_images::documents::{Descriptor, Document, Manifest, ordered_like};

/// The size of a read, in bytes.
pub const CHUNK: usize = 256 * 1024;

/// What replaces the selected layers.
pub trait Exchange {
    /// Writes the replacement of `layer` and returns its descriptor, or none to keep the layer.
    ///
    /// # Errors
    /// Why the layer cannot be replaced.
    fn layer(&mut self, layer: &Descriptor, source: Source<'_>) -> Result<Option<Descriptor>>;
}

/// A number of layers, in words.
pub struct Layers(pub usize);

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "layer" } else { "layers" };
        write!(f, "{} {plural}", self.0)
    }
}

/// The source and the destination of a layer.
pub struct Source<'a> {
    image: &'a Image,
    /// The layout that is written.
    pub target: &'a Target,
    /// The progress of the whole operation.
    pub progress: &'a Progress,
}

impl Source<'_> {
    /// Copies a layer unchanged.
    ///
    /// # Errors
    /// A blob that is missing or altered.
    pub fn copy(&self, layer: &Descriptor) -> Result<()> {
        copy(self.image, self.target, layer)
    }

    /// Reads a layer. Its digest is checked at the end.
    ///
    /// # Errors
    /// A blob that is missing.
    pub fn read(&self, layer: &Descriptor) -> Result<Blob> {
        let path = self.image.blob(layer)?;
        let file =
            File::open(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let wanted = layer.digest().to_owned();
        Ok(Blob { file, hash: Sha256::new(), wanted, progress: self.progress.clone() })
    }
}

/// A blob that is read.
pub struct Blob {
    file: File,
    hash: Sha256,
    wanted: String,
    progress: Progress,
}

impl Blob {
    /// Fills the buffer as far as possible, and returns 0 at the end.
    ///
    /// # Errors
    /// A file that cannot be read; at the end, a wrong digest.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = self.file.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.progress.add(length as u64);
        if length == 0 {
            let found = sha256(&std::mem::take(&mut self.hash).finalize());
            ensure!(found == self.wanted, "a blob was altered: `{}` is `{found}`", self.wanted);
        }
        Ok(length)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Self::read(self, buffer).map_err(std::io::Error::other)
    }
}

/// Writes `image` to `target` and replaces the selected layers. Returns the new entry for
/// `index.json` and the number of replaced layers.
///
/// # Errors
/// A blob that is missing or altered, a destination that cannot be written to, or why a layer cannot
/// be replaced.
pub fn rewrite(
    image: &Image,
    target: &Target,
    selection: &Selection,
    exchange: &mut dyn Exchange,
) -> Result<(Descriptor, usize)> {
    let chosen = selection.bytes(image)?;
    let progress = Progress::new(chosen);
    let mut rewriting = Rewriting { image, target, selection, exchange, progress, exchanged: 0 };
    let entry = rewriting.descriptor(&image.entry, 0)?;
    Ok((entry, rewriting.exchanged))
}

struct Rewriting<'a> {
    image: &'a Image,
    target: &'a Target,
    selection: &'a Selection,
    exchange: &'a mut dyn Exchange,
    progress: Progress,
    exchanged: usize,
}

impl Rewriting<'_> {
    /// Copies an index or a manifest, and all blobs that it names.
    fn descriptor(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Descriptor> {
        ensure!(depth <= MAX_DEPTH, "image indexes are nested too deeply");
        let text: Value = self.image.document(descriptor)?;
        let original: Document = serde_json::from_value(text.clone())?;
        let mut document = original.clone();
        match &mut document {
            Document::Index(index) => {
                for manifest in &mut index.manifests {
                    *manifest = self.descriptor(manifest, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => self.manifest(descriptor, manifest)?,
        }
        let mut descriptor = descriptor.clone();
        if document == original {
            copy(self.image, self.target, &descriptor)?; // the same bytes, for signatures over them
        } else {
            let document = ordered_like(serde_json::to_value(&document)?, &text);
            self.target.document(&document)?.describe(&mut descriptor);
        }
        Ok(descriptor)
    }

    fn manifest(&mut self, descriptor: &Descriptor, manifest: &mut Manifest) -> Result<()> {
        if let Some(config) = &manifest.config {
            copy(self.image, self.target, config)?;
        }
        let has_platform = self.selection.has_platform(self.image, descriptor, manifest)?;
        for (number, layer) in (1..).zip(&mut manifest.layers) {
            let source =
                Source { image: self.image, target: self.target, progress: &self.progress };
            let is_chosen = has_platform && self.selection.has_layer(number);
            let exchanged = if is_chosen {
                let exchanged = self.exchange.layer(layer, source);
                exchanged.with_context(|| format!("layer {number}"))?
            } else {
                None
            };
            match exchanged {
                Some(new) => {
                    *layer = new;
                    self.exchanged += 1;
                }
                None => {
                    copy(self.image, self.target, layer)?;
                    if is_chosen {
                        self.progress.add(layer.size());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Copies a blob, unless it exists at the destination.
fn copy(image: &Image, target: &Target, descriptor: &Descriptor) -> Result<()> {
    if target.holds(descriptor)? {
        return Ok(());
    }
    let path = image.blob(descriptor)?;
    let mut file = match File::open(&path) {
        Ok(file) => file,
        // A foreign layer is fetched from its URL.
        Err(_) if descriptor.urls.is_some() => return Ok(()),
        Err(error) => bail!("cannot read `{}`: {error}", path.display()),
    };
    let mut blob = target.blob()?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => blob.write_all(&buffer[..length])?,
        }
    }
    let found = blob.keep()?.digest;
    let wanted = descriptor.digest();
    ensure!(found == wanted, "a blob was altered: `{wanted}` is `{found}`");
    Ok(())
}
