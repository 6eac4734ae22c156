//! What is to be done with each layer of an image. It is decided before anything is written.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use clap::Args;
use keycell_images::documents::{Descriptor, Document, Index, Manifest};
use keycell_images::place::{Documents, MAX_DEPTH, parse};
use keycell_images::{Error, Source, digest, shown};
use serde_json::Value;

use super::error::{Few, Named};
use super::selection::platform_of;
use super::{ImageError, Report, Selection, Work, platform};

/// What replaces layers.
pub trait Exchange: Sync {
    /// What a layer needs that is replaced.
    type Ready: Send + Sync;

    /// Decides about a chosen layer.
    ///
    /// # Errors
    /// Why the image cannot be rewritten.
    fn decide(&mut self, layer: &Descriptor) -> Result<Decision<Self::Ready>>;

    /// The error for layers of which [`decide`](Self::decide) says that they cannot be replaced.
    fn refuse(&self, layers: Few<Named>) -> ImageError;

    /// The error if no layer is to be replaced, and if that is one.
    fn nothing(&self) -> Option<ImageError> {
        None
    }

    /// The error if the image as a whole is not what was asked for.
    fn object(&self) -> Option<anyhow::Error> {
        None
    }

    /// The media type that the replacement of a layer will have.
    fn media_type(&self, layer: &Descriptor, ready: &Self::Ready) -> String;

    /// Writes the replacement of a layer, and returns its descriptor.
    ///
    /// # Errors
    /// Why the layer cannot be replaced.
    fn exchange(
        &self,
        layer: &Descriptor,
        ready: &Self::Ready,
        work: &Work<'_>,
    ) -> Result<Descriptor>;

    /// Adds what a person should know beside what is true of every image that is rewritten.
    fn notes(&self, _report: &mut Report) {}

    /// What was done, or would be, in lines.
    fn text(&self, report: &Report, is_done: bool) -> String;

    /// For whom the layers are, in words.
    fn recipients(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What is done with a chosen layer.
pub enum Decision<R> {
    /// It is replaced.
    Exchange(R),
    /// It stays as it is, as it should.
    Keep,
    /// It cannot be replaced: its media type says why, or these words.
    Cannot(Option<&'static str>),
    /// It cannot be replaced, and unless it may stay, this is the error.
    Fails(anyhow::Error),
}

/// What the command line wants, beside the exchange of layers.
#[derive(Args, Default)]
pub struct Wishes {
    #[command(flatten)]
    pub selection: Selection,
    /// Leave out of the index what is not chosen by `--platform`, and what the source does not have
    #[arg(long)]
    prune: bool,
    /// Leave attestations (provenance, SBOM) out of the index
    #[arg(long)]
    drop_attestations: bool,
    /// Layers that may stay as they are, by media type or by number.
    #[arg(skip)]
    pub allowed: Vec<String>,
}

/// A document of the image.
pub struct Text<T> {
    /// Its descriptor.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its members, in their order.
    pub value: Value,
    /// The document.
    pub document: T,
}

/// An image, with what is to be done.
pub enum Node<R> {
    /// An index.
    Index(Box<Text<Index>>, Vec<Node<R>>),
    /// A manifest.
    Manifest(Box<Text<Manifest>>, Vec<Treatment<R>>),
    /// A document that the source does not have.
    NotThere(Box<Descriptor>),
}

/// What is to be done with a layer.
pub enum Treatment<R> {
    /// It is replaced.
    Exchange(R),
    /// It is copied.
    Copy,
}

/// What is to be done with an image.
pub struct Plan<R> {
    /// The whole image.
    pub root: Node<R>,
}

impl<R: Send + Sync> Plan<R> {
    /// Decides about each layer.
    ///
    /// # Errors
    /// Documents that cannot be read; layers that cannot be replaced and are not allowed to stay; no
    /// layer that is replaced.
    pub fn make(
        source: &dyn Source,
        wishes: &Wishes,
        exchange: &mut dyn Exchange<Ready = R>,
    ) -> Result<Self> {
        let mut planning = Planning {
            source,
            wishes,
            exchange,
            documents: Documents::default(),
            platforms: Vec::new(),
            most: 0,
            chosen: 0,
            replaced: Vec::new(),
            configurations: BTreeSet::new(),
            missing: Vec::new(),
            cannot: Vec::new(),
        };
        let root = planning.node(source.entry(), 0)?;
        planning.judge()?;
        let root = root.ok_or(ImageError::NoLayer)?;
        exchange.object().map_or(Ok(Self { root }), Err)
    }
}

struct Planning<'a, R> {
    source: &'a dyn Source,
    wishes: &'a Wishes,
    exchange: &'a mut dyn Exchange<Ready = R>,
    documents: Documents,
    /// The names of all platforms, if the command line names some.
    platforms: Vec<String>,
    /// The most layers of a chosen manifest.
    most: usize,
    /// The number of chosen layers.
    chosen: usize,
    /// Those that are replaced, by their digests.
    replaced: Vec<(String, Named)>,
    /// The digests of all configurations.
    configurations: BTreeSet<String>,
    /// Manifests that are chosen and not there.
    missing: Vec<String>,
    /// Chosen layers that cannot be replaced.
    cannot: Vec<Named>,
}

impl<R: Send + Sync> Planning<'_, R> {
    /// What is to be done with a document, or none if it is left out.
    fn node(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<Node<R>>> {
        if depth > MAX_DEPTH {
            return Err(Error::NestedTooDeeply.into());
        }
        let bytes = self.source.document_bytes(descriptor)?;
        self.documents.add(bytes.len())?;
        let value: Value = parse(descriptor.digest(), &bytes)?;
        let descriptor = descriptor.clone();
        match parse(descriptor.digest(), &bytes)? {
            Document::Index(document) => {
                let mut text = Text { descriptor, bytes, value, document };
                let nodes = self.listed(&mut text.document, depth)?;
                Ok(Some(Node::Index(Box::new(text), nodes)))
            }
            Document::Manifest(manifest) => {
                self.manifest(Text { descriptor, bytes, value, document: *manifest }, depth)
            }
        }
    }

    /// What an index lists. What is left out is removed from `index`.
    fn listed(&mut self, index: &mut Index, depth: usize) -> Result<Vec<Node<R>>> {
        let mut nodes = Vec::new();
        let mut kept = Vec::new();
        for entry in std::mem::take(&mut index.manifests) {
            if self.wishes.drop_attestations && entry.is_attestation() {
                continue;
            }
            let node = match self.source.holds(&entry)? {
                true => self.node(&entry, depth + 1)?,
                false => {
                    self.documents.add(0)?;
                    let name = entry.platform.as_ref().and_then(|_| platform(&entry));
                    self.platforms.extend(name.clone());
                    let is_chosen = self.wishes.selection.has_platform(name.as_deref());
                    self.not_there(&entry, is_chosen)
                }
            };
            if let Some(node) = node {
                nodes.push(node);
                kept.push(entry);
            }
        }
        index.manifests = kept;
        Ok(nodes)
    }

    /// A manifest, or a blob of one, is not there.
    fn not_there(&mut self, entry: &Descriptor, is_chosen: bool) -> Option<Node<R>> {
        let is_wanted = is_chosen && self.wishes.selection.names_platforms();
        if self.wishes.prune && !is_wanted {
            return None;
        }
        if is_chosen {
            let digest = || shown(entry.digest());
            self.missing.push(format!("`{}`", platform(entry).unwrap_or_else(digest)));
        }
        Some(Node::NotThere(Box::new(entry.clone())))
    }

    fn manifest(&mut self, text: Text<Manifest>, depth: usize) -> Result<Option<Node<R>>> {
        let Text { descriptor, document: manifest, .. } = &text;
        let selection = &self.wishes.selection;
        let name = match selection.names_platforms() {
            true => platform_of(self.source, descriptor, manifest)?,
            false => None,
        };
        let is_chosen = selection.has_platform(name.as_deref());
        self.platforms.extend(name);
        if self.wishes.prune && !is_chosen && depth > 0 {
            return Ok(None);
        }
        if let Some(reason) = manifest.is_no_image().filter(|_| is_chosen) {
            let digest = shown(descriptor.digest());
            return Err(ImageError::NoLayers { digest, reason }.into());
        }
        if depth > 0 && !self.has_blobs(manifest)? {
            return Ok(self.not_there(descriptor, is_chosen));
        }
        if is_chosen {
            self.most = self.most.max(manifest.layers.len());
        }
        let treatments = self.layers(descriptor, manifest, is_chosen)?;
        Ok(Some(Node::Manifest(Box::new(text), treatments)))
    }

    /// Whether all blobs are there. Those that may be fetched from elsewhere need not be.
    fn has_blobs(&mut self, manifest: &Manifest) -> Result<bool> {
        for blob in manifest.config.iter().chain(&manifest.layers) {
            digest::hex(blob.digest())?;
            if !blob.is_foreign() && !self.source.holds_blob(blob)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn layers(
        &mut self,
        descriptor: &Descriptor,
        manifest: &Manifest,
        is_chosen: bool,
    ) -> Result<Vec<Treatment<R>>> {
        self.configurations.extend(manifest.config.iter().map(|it| it.digest().to_owned()));
        let wishes = self.wishes;
        let mut treatments = Vec::new();
        for (number, layer) in (1..).zip(&manifest.layers) {
            digest::hex(layer.digest())?;
            let mut treatment = Treatment::Copy;
            if is_chosen && wishes.selection.has_layer(number) {
                self.chosen += 1;
                let place = place(number, descriptor);
                let named = |reason| Named {
                    place: place.clone(),
                    number,
                    media_type: shown(layer.media_type()),
                    is_attestation: descriptor.is_attestation(),
                    reason,
                };
                let is_allowed = wishes.allows(number, layer);
                match self.exchange.decide(layer).with_context(|| place.clone())? {
                    Decision::Exchange(ready) => {
                        self.replaced.push((layer.digest().to_owned(), named(ALSO_COPIED)));
                        treatment = Treatment::Exchange(ready);
                    }
                    Decision::Keep => {}
                    Decision::Cannot(_) | Decision::Fails(_) if is_allowed => {}
                    Decision::Cannot(reason) => self.cannot.push(named(reason)),
                    Decision::Fails(error) => return Err(error.context(place)),
                }
            }
            treatments.push(treatment);
        }
        Ok(treatments)
    }

    /// Whether all that is chosen is there and can be replaced.
    fn judge(self) -> Result<()> {
        let Self { exchange, mut cannot, replaced, .. } = self;
        if !self.missing.is_empty() {
            return Err(ImageError::NotThere(Few::of(self.missing)).into());
        }
        let unmet = self.wishes.selection.unmet(&self.platforms, self.most);
        if !unmet.is_empty() {
            return Err(ImageError::NothingChosen(Few::of(unmet)).into());
        }
        if self.chosen == 0 {
            return Err(ImageError::NoLayer.into());
        }
        let is_replaced = !replaced.is_empty();
        let copied = |(digest, _): &(String, Named)| self.configurations.contains(digest);
        cannot.extend(replaced.into_iter().filter(copied).map(|(_, named)| named));
        if !cannot.is_empty() {
            return Err(exchange.refuse(Few::of(cannot)).into());
        }
        match exchange.nothing().filter(|_| !is_replaced) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// Why a layer cannot be replaced that is also something else.
const ALSO_COPIED: Option<&str> =
    Some("which is also a configuration, and configurations are copied");

impl Wishes {
    fn allows(&self, number: usize, layer: &Descriptor) -> bool {
        let is_it =
            |allowed: &String| *allowed == number.to_string() || allowed == layer.media_type();
        self.allowed.iter().any(is_it)
    }
}

/// Where a layer is, such as `layer 1 of linux/amd64`.
pub fn place(number: usize, manifest: &Descriptor) -> String {
    match platform(manifest) {
        Some(platform) => format!("layer {number} of {platform}"),
        None => format!("layer {number}"),
    }
}
