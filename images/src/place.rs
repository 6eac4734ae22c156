//! What a place where images are can do.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::digest;
use crate::documents::{Descriptor, Document, Manifest};
use crate::error::{Error, Result};
use crate::registry::Repository;

/// The largest index, manifest or configuration that is read, in bytes: 16 MiB. Registries refuse
/// manifests above 4 MiB.
pub const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;

/// How deep indexes may be nested.
pub const MAX_DEPTH: usize = 4;

/// An image that is read.
pub trait Source: Sync {
    /// The descriptor of its manifest or of its index.
    fn entry(&self) -> &Descriptor;

    /// Whether the index or manifest is there. Archives of one platform often have an index that lists
    /// others.
    ///
    /// # Errors
    /// A digest that is malformed, or a place that cannot be read.
    fn holds(&self, document: &Descriptor) -> Result<bool>;

    /// Whether a layer or a configuration is there, as far as this can be known without reading it.
    ///
    /// # Errors
    /// A digest that is malformed, or a place that cannot be read.
    fn holds_blob(&self, _blob: &Descriptor) -> Result<bool> {
        Ok(true)
    }

    /// Begins to read an index or a manifest. Its digest and its size are not checked yet.
    ///
    /// # Errors
    /// What is not there, or cannot be read.
    fn open_document(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>>;

    /// Begins to read a layer or a configuration. Its digest and its size are not checked yet.
    ///
    /// # Errors
    /// What is not there, or cannot be read.
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>>;

    /// What refers to a manifest or an index from outside of the image, by a tag such as
    /// `sha256-….sig`, or as a referrer. A place that cannot be asked has none.
    fn referrers(&self, _digest: &str) -> Vec<String> {
        Vec::new()
    }

    /// The repository of a registry in which the blobs are, if they are in one.
    fn repository(&self) -> Option<&Repository> {
        None
    }
}

/// A place that an image is written to. The image becomes visible only when it is complete.
pub trait Target: Sync {
    /// Whether a blob need not be written: it is there, or the registry can take it from the repository
    /// of `source`.
    ///
    /// # Errors
    /// A place that cannot be asked.
    fn adopts(&self, blob: &Descriptor, source: &dyn Source) -> Result<bool>;

    /// A blob whose digest is not known yet.
    ///
    /// # Errors
    /// A place that cannot be written to.
    fn blob(&self) -> Result<Box<dyn NewBlob + '_>>;

    /// Adds an index or a manifest. All that it names is there.
    ///
    /// # Errors
    /// A place that cannot be written to.
    fn document(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<()>;

    /// Adds the index or the manifest of the whole image under the name that the target was opened
    /// with. Nothing but this makes the image visible.
    ///
    /// # Errors
    /// A place that cannot be written to.
    fn publish(self: Box<Self>, entry: Descriptor, bytes: &[u8]) -> Result<()>;
}

/// A blob that is being written. It is discarded if it is not kept.
pub trait NewBlob: Write + Send {
    /// Completes the blob.
    ///
    /// # Errors
    /// A place that cannot be written to.
    fn keep(self: Box<Self>) -> Result<Kept>;
}

/// A complete blob.
#[derive(Debug)]
pub struct Kept {
    /// Its digest, as it is written.
    pub digest: String,
    /// Its length, in bytes.
    pub size: u64,
}

impl Kept {
    /// Sets the digest and the size of this blob in `descriptor`.
    pub fn describe(self, descriptor: &mut Descriptor) {
        descriptor.set_content(self.digest, self.size);
    }
}

/// A manifest of an image, with its descriptor.
pub struct Described {
    /// The descriptor.
    pub descriptor: Descriptor,
    /// The manifest, or none where the place does not have it.
    pub manifest: Option<Manifest>,
}

impl dyn Source + '_ {
    /// The bytes of an index or a manifest.
    ///
    /// # Errors
    /// A document that is missing, too long or altered.
    pub fn document_bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        all_of(self.open_document(descriptor)?, descriptor)
    }

    /// An index or a manifest.
    ///
    /// # Errors
    /// A document that is missing, too long, altered, or not JSON.
    pub fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        parse(descriptor.digest(), &self.document_bytes(descriptor)?)
    }

    /// A configuration, or another small blob with JSON.
    ///
    /// # Errors
    /// As [`document`](Self::document).
    pub fn json_blob<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        parse(descriptor.digest(), &all_of(self.open_blob(descriptor)?, descriptor)?)
    }

    /// Reads a blob. Its digest and its size are checked at the end.
    ///
    /// # Errors
    /// A blob that is missing.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Verified<'_>> {
        Ok(Verified::new(self.open_blob(descriptor)?, descriptor))
    }

    /// All manifests, in order, with those that indexes list.
    ///
    /// # Errors
    /// A document that is altered or nested too deeply; no manifest that is there.
    pub fn manifests(&self) -> Result<Vec<Described>> {
        let mut manifests = Vec::new();
        self.collect(self.entry(), 0, &mut Documents::default(), &mut manifests)?;
        Ok(manifests)
    }

    fn collect(
        &self,
        at: &Descriptor,
        depth: usize,
        documents: &mut Documents,
        into: &mut Vec<Described>,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::NestedTooDeeply);
        }
        if depth > 0 && !self.holds(at)? {
            documents.add(0)?;
            into.push(Described { descriptor: at.clone(), manifest: None });
            return Ok(());
        }
        let bytes = self.document_bytes(at)?;
        documents.add(bytes.len())?;
        match parse(at.digest(), &bytes)? {
            Document::Index(index) => {
                let mut listed = index.manifests.iter();
                listed.try_for_each(|entry| self.collect(entry, depth + 1, documents, into))
            }
            Document::Manifest(manifest) => {
                into.push(Described { descriptor: at.clone(), manifest: Some(*manifest) });
                Ok(())
            }
        }
    }
}

/// The manifests and indexes of an image that were read. An index can list the same one over and over.
#[derive(Default)]
pub struct Documents {
    count: usize,
    bytes: usize,
}

impl Documents {
    /// How many an image may have.
    const MAX_COUNT: usize = 1024;

    /// How long all of them may be together, in bytes.
    const MAX_BYTES: usize = 4 * MAX_DOCUMENT as usize;

    /// Counts one more of this length, in bytes.
    ///
    /// # Errors
    /// [`Error::TooManyDocuments`].
    pub fn add(&mut self, bytes: usize) -> Result<()> {
        self.count += 1;
        self.bytes += bytes;
        match self.count <= Self::MAX_COUNT && self.bytes <= Self::MAX_BYTES {
            true => Ok(()),
            false => Err(Error::TooManyDocuments { most: Self::MAX_COUNT, bytes: Self::MAX_BYTES }),
        }
    }
}

/// What refers to a manifest among the images of a list: cosign's tags, and documents with a `subject`.
pub fn referrers_among(source: &dyn Source, entries: &[Descriptor], digest: &str) -> Vec<String> {
    // Cosign's tags begin so.
    let prefix = digest.replace(':', "-");
    let refers = |entry: &&Descriptor| match entry.tag() {
        Some(tag) if tag.starts_with(&prefix) => true,
        _ => {
            let document = source.document(entry);
            document.is_ok_and(|document: Document| document.subject() == Some(digest))
        }
    };
    let name = |entry: &Descriptor| entry.tag().unwrap_or(entry.digest()).to_owned();
    entries.iter().take(Documents::MAX_COUNT).filter(refers).map(name).collect()
}

/// Parses a document that has this name in messages.
///
/// # Errors
/// Bytes that are not JSON, or JSON that is no such document.
pub fn parse<T: DeserializeOwned>(shown: &str, bytes: &[u8]) -> Result<T> {
    let shown = || crate::shown(shown);
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::NotJson { shown: shown(), error })?;
    serde_json::from_value(value).map_err(|error| Error::Malformed { shown: shown(), error })
}

fn all_of(from: Box<dyn Read + Send + '_>, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut verified = Verified::new(from, descriptor);
    let too_long = || Error::TooLong(crate::shown(descriptor.digest()));
    loop {
        let mut chunk = [0; 8192];
        match verified.next(&mut chunk)? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(too_long());
        }
    }
}

/// A blob that is read: at its end, its digest and its size are what the descriptor says.
pub struct Verified<'a> {
    from: Box<dyn Read + Send + 'a>,
    hash: Sha256,
    length: u64,
    digest: String,
    size: Option<u64>,
}

impl<'a> Verified<'a> {
    /// Reads what `from` has, which should be what `descriptor` describes.
    pub fn new(from: Box<dyn Read + Send + 'a>, descriptor: &Descriptor) -> Self {
        let digest = descriptor.digest().to_owned();
        Self { from, hash: Sha256::new(), length: 0, digest, size: descriptor.size }
    }

    /// Fills the buffer as far as one read does, and returns 0 at the end.
    ///
    /// # Errors
    /// A blob that cannot be read; at the end, a wrong digest or size.
    pub fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let shown = || crate::shown(&self.digest);
        let length = match self.from.read(buffer) {
            Ok(length) => length,
            Err(error) => {
                return Err(Error::from_io(error, |error| Error::Read { shown: shown(), error }));
            }
        };
        self.hash.update(&buffer[..length]);
        self.length += length as u64;
        if self.size.is_some_and(|size| self.length > size) || length == 0 {
            self.verify()?;
        }
        Ok(length)
    }

    fn verify(&mut self) -> Result<()> {
        let wanted = || crate::shown(&self.digest);
        if let Some(size) = self.size.filter(|size| *size != self.length) {
            return Err(Error::Size { wanted: wanted(), size, found: self.length });
        }
        let found = digest::finish(std::mem::take(&mut self.hash));
        if found == self.digest { Ok(()) } else { Err(Error::Altered { wanted: wanted(), found }) }
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer).map_err(io::Error::other)
    }
}
