//! What is to be done with each layer of an image. It is decided before anything is written.

use anyhow::Result;
use clap::Args;
use keycell_images::documents::{Descriptor, Document, Index, Manifest};
use keycell_images::place::{Documents, MAX_DEPTH, parse};
use keycell_images::{Error, Source, shown};
use serde_json::Value;

use super::error::{Few, Named};
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
            chosen: 0,
            exchanged: 0,
            missing: Vec::new(),
            cannot: Vec::new(),
        };
        let root = planning.node(source.entry(), 0)?;
        let Planning { chosen, exchanged, missing, cannot, exchange, .. } = planning;
        if !missing.is_empty() {
            return Err(ImageError::NotThere(Few::of(missing)).into());
        }
        if chosen == 0 {
            return Err(ImageError::NothingChosen.into());
        }
        if !cannot.is_empty() {
            return Err(exchange.refuse(Few::of(cannot)).into());
        }
        if exchanged == 0
            && let Some(error) = exchange.nothing()
        {
            return Err(error.into());
        }
        exchange.object().map_or(Ok(Self { root }), Err)
    }
}

struct Planning<'a, R> {
    source: &'a dyn Source,
    wishes: &'a Wishes,
    exchange: &'a mut dyn Exchange<Ready = R>,
    documents: Documents,
    /// The number of chosen layers.
    chosen: usize,
    /// The number of those that are replaced.
    exchanged: usize,
    /// Manifests that are chosen and not there.
    missing: Vec<String>,
    /// Chosen layers that cannot be replaced.
    cannot: Vec<Named>,
}

impl<R: Send + Sync> Planning<'_, R> {
    fn node(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Node<R>> {
        if depth > MAX_DEPTH {
            return Err(Error::NestedTooDeeply.into());
        }
        let bytes = self.source.document_bytes(descriptor)?;
        self.documents.add(bytes.len())?;
        let value: Value = parse(descriptor.digest(), &bytes)?;
        let descriptor = descriptor.clone();
        Ok(match parse(descriptor.digest(), &bytes)? {
            Document::Index(document) => {
                let mut text = Text { descriptor, bytes, value, document };
                let nodes = self.listed(&mut text.document, depth)?;
                Node::Index(Box::new(text), nodes)
            }
            Document::Manifest(manifest) => {
                let document = *manifest;
                let layers = self.layers(&descriptor, &document)?;
                Node::Manifest(Box::new(Text { descriptor, bytes, value, document }), layers)
            }
        })
    }

    /// What an index lists. What is left out is removed from `index`.
    fn listed(&mut self, index: &mut Index, depth: usize) -> Result<Vec<Node<R>>> {
        let mut nodes = Vec::new();
        let mut kept = Vec::new();
        for entry in std::mem::take(&mut index.manifests) {
            if self.wishes.drop_attestations && entry.is_attestation() {
                continue;
            }
            let is_chosen = self.wishes.selection.has_listed(&entry);
            if self.wishes.prune && is_chosen == Some(false) {
                continue;
            }
            if self.source.holds(&entry)? {
                nodes.push(self.node(&entry, depth + 1)?);
            } else if self.wishes.prune {
                continue;
            } else {
                self.documents.add(0)?;
                if is_chosen != Some(false) {
                    let digest = || shown(entry.digest());
                    self.missing.push(format!("`{}`", platform(&entry).unwrap_or_else(digest)));
                }
                nodes.push(Node::NotThere(Box::new(entry.clone())));
            }
            kept.push(entry);
        }
        index.manifests = kept;
        Ok(nodes)
    }

    fn layers(
        &mut self,
        descriptor: &Descriptor,
        manifest: &Manifest,
    ) -> Result<Vec<Treatment<R>>> {
        if let Some(reason) = manifest.is_no_image() {
            let digest = shown(descriptor.digest());
            return Err(ImageError::NoLayers { digest, reason }.into());
        }
        let wishes = self.wishes;
        let has_platform = wishes.selection.has_platform(self.source, descriptor, manifest)?;
        let mut treatments = Vec::new();
        for (number, layer) in (1..).zip(&manifest.layers) {
            let mut treatment = Treatment::Copy;
            if has_platform && wishes.selection.has_layer(number) {
                self.chosen += 1;
                let place = place(number, descriptor);
                match self.exchange.decide(layer) {
                    Ok(Decision::Exchange(ready)) => {
                        self.exchanged += 1;
                        treatment = Treatment::Exchange(ready);
                    }
                    Ok(Decision::Keep) => {}
                    _ if wishes.allows(number, layer) => {}
                    Err(error) => return Err(error.context(place)),
                    Ok(Decision::Cannot(reason)) => {
                        let media_type = shown(layer.media_type());
                        let is_attestation = descriptor.is_attestation();
                        self.cannot.push(Named { place, media_type, is_attestation, reason });
                    }
                }
            }
            treatments.push(treatment);
        }
        Ok(treatments)
    }
}

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
