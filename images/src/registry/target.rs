//! Writes an image to a registry (OCI distribution specification 1.1, section "Push").

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ureq::http::Method;

use super::Options;
use super::answer::About;
use super::client::{Client, Request};
use super::error::RegistryError;
use super::manifest;
use super::reference::Reference;
use super::retry::Failures;
use super::stream::Stream;
use super::upload::{self, CHUNK, SHORTEST, Upload};
use super::uploads::{Open, Uploads};
use super::url::Url;
use crate::digest;
use crate::documents::Descriptor;
use crate::error::{Error, NameError, Result};
use crate::place::{NewBlob, Source, Target};

/// How often a tag is read after it was written: some registries answer from a cache at first.
const READS: u32 = 4;
/// How long is waited between two of them.
const BETWEEN_READS: Duration = Duration::from_millis(500);

/// A repository that an image is written to.
pub struct RegistryTarget {
    client: Arc<Client>,
    reference: Reference,
    /// The uploads that are open for no blob yet.
    spare: Mutex<Vec<Open>>,
    uploads: Uploads,
    chunk: AtomicUsize,
    /// Whether the registry takes no chunks.
    no_chunks: AtomicBool,
}

impl RegistryTarget {
    /// Prepares to write an image. An upload is opened for its first blob, so that it is known before
    /// any work whether the registry allows it.
    ///
    /// # Errors
    /// A registry that cannot be reached, that does not allow it, or that has such an image that is not
    /// to be replaced.
    pub fn create(reference: &Reference, options: &Options, replace: bool) -> Result<Self> {
        if reference.digest().is_some() {
            return Err(NameError::NotADestination(format!("docker://{reference}")).into());
        }
        let client = Arc::new(Client::new(&reference.repository, "pull,push", options)?);
        if !replace && manifest::exists(&client, &reference.version)? {
            return Err(Error::Exists { name: format!("docker://{reference}") });
        }
        let target = Self {
            uploads: Uploads::new(&client),
            client,
            reference: reference.clone(),
            spare: Mutex::default(),
            chunk: AtomicUsize::new(CHUNK),
            no_chunks: AtomicBool::new(false),
        };
        let first = target.open_upload()?;
        target.spare(first);
        Ok(target)
    }

    /// The client of the repository.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same for a thread of its own.
    pub fn shared_client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// The registry takes no chunks: from now on, a blob is a single request.
    pub fn forbid_chunks(&self) {
        self.no_chunks.store(true, Ordering::Relaxed);
    }

    /// How long chunks are at most, in bytes.
    pub fn chunk(&self) -> usize {
        self.chunk.load(Ordering::Relaxed)
    }

    /// Halves chunks if one of this length was too long. Returns false if they would be too short.
    pub fn shorten_chunks(&self, length: usize) -> bool {
        let shorter = length / 2;
        if shorter < SHORTEST {
            return false;
        }
        self.chunk.fetch_min(shorter, Ordering::Relaxed);
        true
    }

    /// An upload that is open for no blob yet.
    ///
    /// # Errors
    /// A registry that opens none.
    pub fn open_upload(&self) -> Result<Open, RegistryError> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(open) = spare {
            return Ok(open);
        }
        let url = self.client.url("blobs/uploads/")?;
        upload::opened(self.client.send(&Request::new(Method::POST, url))?, self)
    }

    /// Keeps an upload that the registry has just opened.
    pub fn keep_open(&self, url: Url) -> Open {
        self.uploads.add(url)
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// A registry that does not say so.
    pub fn has_blob(&self, digest: &str, failures: &mut Failures) -> Result<bool, RegistryError> {
        let url = self.client.url(&format!("blobs/{digest}"))?;
        let answer = self.client.send_again(&Request::new(Method::HEAD, url), failures)?;
        match answer.status() {
            200..=299 => Ok(true),
            // Some registries have no HEAD. The blob is then sent again.
            404 | 405 | 501 => Ok(false),
            _ => Err(answer.refuse(&self.client.repository, About::Blob(digest))),
        }
    }

    fn spare(&self, open: Open) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(open);
    }

    /// Takes a blob from another repository of the registry. A registry that does not, for whatever
    /// reason, gets the blob as any other.
    fn mount(&self, digest: &str, from: &str) -> Result<bool, RegistryError> {
        let path = format!("blobs/uploads/?mount={digest}&from={from}");
        let request = Request::new(Method::POST, self.client.url(&path)?).from(from);
        let Ok(answer) = self.client.send_once(&request) else { return Ok(false) };
        if answer.status() == 201 {
            return Ok(true);
        }
        if let Ok(open) = upload::opened(answer, self) {
            self.spare(open);
        }
        Ok(false)
    }

    fn put(&self, version: &str, what: &Descriptor, bytes: &[u8]) -> Result<(), RegistryError> {
        let url = self.client.url(&format!("manifests/{version}"))?;
        let media_type = what.media_type.clone().filter(|it| !it.is_empty());
        let media_type = media_type.unwrap_or_else(|| manifest::media_type(bytes, ""));
        let answer = self.client.send(&Request::new(Method::PUT, url).body(&media_type, bytes))?;
        match answer.is_success() {
            true => Ok(()),
            false => Err(answer.refuse(&self.client.repository, About::Other)),
        }
    }

    /// Checks that the tag names what was just written.
    fn read_back(&self, wanted: &str) -> Result<()> {
        let mut reads = 1;
        loop {
            let found = match manifest::read(&self.client, &self.reference.version) {
                Ok(found) => found.descriptor.digest().to_owned(),
                Err(Error::Registry(RegistryError::NoManifest { .. })) => "nothing".to_owned(),
                Err(Error::Registry(why)) => {
                    let (image, digest) =
                        (format!("docker://{}", self.reference), wanted.to_owned());
                    return Err(RegistryError::Unread { image, digest, why: Box::new(why) }.into());
                }
                Err(error) => return Err(error),
            };
            if found == wanted {
                return Ok(());
            }
            if reads == READS {
                let image = format!("docker://{}", self.reference);
                let wanted = wanted.to_owned();
                return Err(RegistryError::Changed { image, wanted, found }.into());
            }
            reads += 1;
            thread::sleep(BETWEEN_READS);
        }
    }
}

impl Target for RegistryTarget {
    fn adopts(&self, blob: &Descriptor, source: &dyn Source) -> Result<bool> {
        let digest = blob.digest();
        digest::hex(digest)?;
        if self.has_blob(digest, &mut Failures::default())? {
            return Ok(true);
        }
        let ours = &self.reference.repository;
        match source.repository() {
            Some(other) if other.host == ours.host && other.path != ours.path => {
                Ok(self.mount(digest, &other.path)?)
            }
            _ => Ok(false),
        }
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>> {
        Ok(match self.no_chunks.load(Ordering::Relaxed) {
            true => Box::new(Stream::begin(self)?),
            false => Box::new(Upload::new(self)),
        })
    }

    fn document(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        Ok(self.put(&digest::of(bytes), descriptor, bytes)?)
    }

    fn publish(self: Box<Self>, entry: Descriptor, bytes: &[u8]) -> Result<()> {
        self.put(&self.reference.version, &entry, bytes)?;
        self.read_back(&digest::of(bytes))
    }
}
