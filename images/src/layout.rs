//! OCI image layouts on disk (OCI image specification, section "Image Layout").

mod directory;
mod index;
mod target;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::choice::{Choice, Chosen};
use crate::digest;
use crate::documents::Descriptor;
use crate::error::{Error, Result};
use crate::place::{Source, Target, referrers_among};

pub use directory::is_there;
pub use index::{choose, entries};
pub use target::LayoutTarget;

/// Where the blobs are in a layout.
pub const BLOBS: &str = "blobs/sha256";

/// The file that says that a directory is a layout.
const VERSION: &str = "oci-layout";

/// Opens an image of the layout in `directory`.
///
/// # Errors
/// A directory that is no layout, or not exactly one image that was chosen.
pub fn open(directory: &Path, choice: &Choice) -> Result<Box<dyn Source>> {
    let entries = entries(&directory.join(index::FILE))?;
    let entry = choose(&entries, choice, |choice| name(directory, choice))?.clone();
    Ok(Box::new(Layout { directory: directory.to_owned(), entry, entries }))
}

/// Prepares a layout in `directory` for an image.
///
/// # Errors
/// A directory that cannot be written to, or that holds something else.
pub fn create(directory: &Path, choice: &Choice, replace: bool) -> Result<Box<dyn Target>> {
    Ok(Box::new(LayoutTarget::open(directory, choice, replace)?))
}

/// Checks that [`create`] can add an image to `directory`, and writes nothing.
///
/// # Errors
/// A directory that holds something else, or that has an image of this name that is not to be replaced.
pub fn check(directory: &Path, choice: &Choice, replace: bool) -> Result<()> {
    if !is_layout(directory) {
        let is_empty = directory.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        let is_free = !directory.exists() || is_empty;
        return if is_free { Ok(()) } else { Err(Error::NoLayout(directory.to_owned())) };
    }
    let Choice::Named(tag) = choice else { return Ok(()) };
    let entries = entries(&directory.join(index::FILE))?;
    match !replace && entries.iter().any(|entry| entry.tag() == Some(tag)) {
        true => Err(Error::Exists { name: name(directory, choice) }),
        false => Ok(()),
    }
}

/// Whether there is a layout in `directory`.
pub fn is_layout(directory: &Path) -> bool {
    directory.join(index::FILE).is_file()
}

/// The name of an image of the layout in `directory`.
fn name(directory: &Path, choice: &Choice) -> String {
    Chosen("oci", directory.display(), choice).to_string()
}

/// The path of the blob with this digest within a layout.
///
/// # Errors
/// A digest that is missing, malformed, or of another algorithm than SHA-256.
pub fn blob_path(digest: &str) -> Result<PathBuf> {
    Ok(Path::new(BLOBS).join(digest::hex(digest)?))
}

struct Layout {
    directory: PathBuf,
    entry: Descriptor,
    /// All images that it lists.
    entries: Vec<Descriptor>,
}

impl Layout {
    fn path(&self, descriptor: &Descriptor) -> Result<PathBuf> {
        Ok(self.directory.join(blob_path(descriptor.digest())?))
    }
}

impl Source for Layout {
    fn entry(&self) -> &Descriptor {
        &self.entry
    }

    fn holds(&self, document: &Descriptor) -> Result<bool> {
        Ok(self.path(document)?.is_file())
    }

    fn holds_blob(&self, blob: &Descriptor) -> Result<bool> {
        Ok(self.path(blob)?.exists())
    }

    fn referrers(&self, digest: &str) -> Vec<String> {
        referrers_among(self, &self.entries, digest)
    }

    fn open_document(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.open_blob(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let path = self.path(descriptor)?;
        let cannot = |error| Error::Read { shown: path.display().to_string(), error };
        Ok(Box::new(File::open(&path).map_err(cannot)?))
    }
}
