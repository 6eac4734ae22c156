//! Writes an image to a registry (OCI distribution specification 1.1, section "Push").

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ureq::http::Method;

use super::Options;
use super::answer::About;
use super::client::{Client, Request};
use super::error::RegistryError;
use super::manifest;
use super::pusher::Pusher;
use super::reference::Reference;
use super::retry::Failures;
use super::stream::Stream;
use super::upload::Upload;
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
    pusher: Arc<Pusher>,
    reference: Reference,
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
        let pusher = Arc::new(Pusher::new(client));
        let first = pusher.open_upload()?;
        pusher.spare(first);
        Ok(Self { pusher, reference: reference.clone() })
    }

    fn put(&self, version: &str, what: &Descriptor, bytes: &[u8]) -> Result<(), RegistryError> {
        let url = self.pusher.client().url(&format!("manifests/{version}"))?;
        let media_type = what.media_type.clone().filter(|it| !it.is_empty());
        let media_type = media_type.unwrap_or_else(|| manifest::media_type(bytes, ""));
        let answer =
            self.pusher.client().send(&Request::new(Method::PUT, url).body(&media_type, bytes))?;
        match answer.is_success() {
            true => Ok(()),
            false => Err(answer.refuse(&self.pusher.client().repository, About::Other)),
        }
    }

    /// Checks that the tag names what was just written.
    fn read_back(&self, wanted: &str) -> Result<()> {
        let mut reads = 1;
        loop {
            let found = match manifest::read(self.pusher.client(), &self.reference.version) {
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
        if self.pusher.has_blob(digest, &mut Failures::default())? {
            return Ok(true);
        }
        let ours = &self.reference.repository;
        match source.repository() {
            Some(other) if other.host == ours.host && other.path != ours.path => {
                Ok(self.pusher.mount(digest, &other.path)?)
            }
            _ => Ok(false),
        }
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>> {
        Ok(match self.pusher.takes_chunks() {
            true => Box::new(Upload::new(&self.pusher)),
            false => Box::new(Stream::begin(&self.pusher)?),
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
