//! `oci-archive:` as a source: an OCI image layout in a tar archive.

use std::io::Read;

use super::entries::Archive;
use super::{INDEX, MANIFEST};
use crate::choice::{ArchiveFile, Choice, Chosen};
use crate::documents::{Descriptor, Index};
use crate::error::{ArchiveError, Result};
use crate::layout;
use crate::place::{Source, parse, referrers_among};

/// Opens an image in an archive with an OCI image layout.
///
/// # Errors
/// What is no such archive, or does not hold the image.
pub fn open(file: &ArchiveFile, choice: &Choice) -> Result<Box<dyn Source>> {
    let archive = Archive::open(file)?;
    if !archive.has(INDEX) && archive.has(MANIFEST) {
        return Err(ArchiveError::OtherTransport {
            archive: archive.shown().to_owned(),
            path: INDEX,
            name: Chosen("docker-archive", file, choice).to_string(),
        }
        .into());
    }
    let index: Index = parse(INDEX, &archive.document(INDEX)?)?;
    let named = |choice: &Choice| Chosen("oci-archive", file, choice).to_string();
    let entry = layout::choose(&index.manifests, choice, named)?.clone();
    Ok(Box::new(OciArchive { archive, entry, entries: index.manifests }))
}

struct OciArchive {
    archive: Archive,
    entry: Descriptor,
    /// All images that it lists.
    entries: Vec<Descriptor>,
}

impl OciArchive {
    fn path(descriptor: &Descriptor) -> Result<String> {
        Ok(layout::blob_path(descriptor.digest())?.display().to_string())
    }
}

impl Source for OciArchive {
    fn entry(&self) -> &Descriptor {
        &self.entry
    }

    fn holds(&self, document: &Descriptor) -> Result<bool> {
        Ok(self.archive.has(&Self::path(document)?))
    }

    fn holds_blob(&self, blob: &Descriptor) -> Result<bool> {
        self.holds(blob)
    }

    fn referrers(&self, digest: &str) -> Vec<String> {
        referrers_among(self, &self.entries, digest)
    }

    fn open_document(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.open_blob(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let extent = self.archive.find(&Self::path(descriptor)?)?;
        Ok(Box::new(self.archive.read(extent)))
    }
}
