//! Reads an image from a registry.

use std::io::{Cursor, Read};

use super::Options;
use super::client::Client;
use super::download::Download;
use super::error::{Malformation, RegistryError};
use super::manifest::{self, Document};
use super::reference::{Reference, Repository};
use super::referrers;
use crate::digest;
use crate::documents::Descriptor;
use crate::error::Result;
use crate::place::Source;

/// An image in a registry.
pub struct RegistrySource {
    client: Client,
    entry: Document,
}

impl RegistrySource {
    /// Opens an image.
    ///
    /// # Errors
    /// A registry that cannot be reached, or has no such image.
    pub fn open(reference: &Reference, options: &Options) -> Result<Self> {
        let client = Client::new(&reference.repository, "pull", options)?;
        let entry = manifest::read(&client, &reference.version)?;
        Ok(Self { client, entry })
    }
}

impl Source for RegistrySource {
    fn entry(&self) -> &Descriptor {
        &self.entry.descriptor
    }

    fn holds(&self, document: &Descriptor) -> Result<bool> {
        digest::hex(document.digest())?;
        Ok(document.digest == self.entry.descriptor.digest
            || manifest::exists(&self.client, document.digest())?)
    }

    fn open_document(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        digest::hex(descriptor.digest())?;
        if descriptor.digest == self.entry.descriptor.digest {
            return Ok(Box::new(&self.entry.bytes[..]));
        }
        let document = manifest::read(&self.client, descriptor.digest())?;
        Ok(Box::new(Cursor::new(document.bytes)))
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        digest::hex(descriptor.digest())?;
        if descriptor.size.is_none() {
            let host = self.client.host().to_owned();
            return Err(RegistryError::Malformed { host, what: Malformation::NoSize }.into());
        }
        Ok(Box::new(Download::begin(&self.client, descriptor)?))
    }

    fn referrers(&self, digest: &str) -> Vec<String> {
        referrers::of(&self.client, digest)
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.client.repository)
    }
}
