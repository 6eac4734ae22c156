//! Images in archives: `oci-archive:` and `docker-archive:`. Nothing is ever extracted: what an archive holds
//! is read where it lies.

mod docker;
mod entries;
mod input;
mod oci;
mod target;

use std::path::Path;

pub use docker::open as open_docker;
pub use oci::open as open_oci;
pub use target::create as create_oci;

use crate::choice::ArchiveFile;
use entries::Archive;

/// The list of images in an OCI image layout.
const INDEX: &str = "index.json";
/// The list of images that `docker save` writes.
const MANIFEST: &str = "manifest.json";

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An OCI image layout.
    Oci,
    /// What `docker save` writes.
    Docker,
}

/// What the archive at this path holds, if there is one.
pub fn kind(path: &Path) -> Option<Kind> {
    if !path.is_file() {
        return None;
    }
    let archive = Archive::open(&ArchiveFile::Path(path.to_owned())).ok()?;
    if archive.has(INDEX) { Some(Kind::Oci) } else { archive.has(MANIFEST).then_some(Kind::Docker) }
}

#[cfg(test)]
mod tests;
