//! Writes an OCI image layout. All that is written lies in a directory of its own until the image is
//! complete, so that nothing of it stays if it never is.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::{Builder, NamedTempFile, TempDir};

use super::{blob_path, index};
use crate::choice::{Choice, Chosen};
use crate::digest;
use crate::documents::{Descriptor, Index};
use crate::error::{Error, NameError, Result};
use crate::interrupt::{self, OnSignal};
use crate::place::{Kept, NewBlob, Source, Target};

const BLOBS: &str = "blobs/sha256";

/// A layout that an image is added to.
pub struct LayoutTarget {
    root: PathBuf,
    tag: Option<String>,
    /// The list of a layout that is there.
    index: Option<Index>,
    /// What is new, as a layout: beside a new layout, or within one that is there.
    staging: TempDir,
    _on_signal: OnSignal,
}

impl LayoutTarget {
    /// Prepares a layout in `root`. The image gets a name if one is chosen.
    ///
    /// # Errors
    /// A directory that cannot be written to, that holds something else, or that has an image of this
    /// name that is not to be replaced.
    pub fn open(root: &Path, choice: &Choice, replace: bool) -> Result<Self> {
        let list = root.join(index::FILE);
        let tag =
            tag(choice).ok_or_else(|| NameError::NotADestination(super::name(root, choice)))?;
        let index = list.is_file().then(|| index::read(&list)).transpose()?;
        let has = |index: &Index| {
            tag.is_some() && index.manifests.iter().any(|it| it.tag() == tag.as_deref())
        };
        if !replace && index.as_ref().is_some_and(has) {
            return Err(Error::Exists { name: super::name(root, choice) });
        }
        let empty = |mut entries: fs::ReadDir| entries.next().is_none();
        if index.is_none() && root.exists() && !fs::read_dir(root).is_ok_and(empty) {
            return Err(Error::NoLayout(root.to_owned()));
        }
        let within = match &index {
            Some(_) => root,
            None => parent(root),
        };
        fs::create_dir_all(within)
            .map_err(|error| Error::Write { path: root.to_owned(), error })?;
        Self::stage(within, root, tag, index)
    }

    /// Prepares a layout in a directory within `within` that is removed in the end. Messages name `shown`,
    /// which is made of the layout.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn temporary(within: &Path, shown: &Path, choice: &Choice) -> Result<Self> {
        let named = || Chosen("oci-archive", shown.display(), choice).to_string();
        let tag = tag(choice).ok_or_else(|| NameError::NotADestination(named()))?;
        Self::stage(within, shown, tag, None)
    }

    fn stage(
        within: &Path,
        root: &Path,
        tag: Option<String>,
        index: Option<Index>,
    ) -> Result<Self> {
        let cannot = |error| Error::Write { path: root.to_owned(), error };
        let staging = Builder::new()
            .prefix(".keycell-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(within)
            .map_err(cannot)?;
        let path = staging.path().to_owned();
        let _on_signal = OnSignal::new(move || remove(&path));
        fs::create_dir_all(staging.path().join(BLOBS)).map_err(cannot)?;
        Ok(Self { root: root.to_owned(), tag, index, staging, _on_signal })
    }

    /// The directory that has all that is new.
    pub fn staging(&self) -> &Path {
        self.staging.path()
    }

    /// Makes an error of what failed while the layout was written.
    pub fn cannot(&self) -> impl FnOnce(io::Error) -> Error + Copy + '_ {
        |error| Error::Write { path: self.root.clone(), error }
    }
}

/// The name of a new image, or none if the choice is not one of a destination.
fn tag(choice: &Choice) -> Option<Option<String>> {
    match choice {
        Choice::Only => Some(None),
        Choice::Named(name) => Some(Some(name.clone())),
        Choice::Index(_) | Choice::Digest(_) => None,
    }
}

/// The directory that a new directory is made in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes a directory in which other threads may still make files.
fn remove(path: &Path) {
    const ATTEMPTS: usize = 16;
    for _ in 0..ATTEMPTS {
        if fs::remove_dir_all(path).is_ok() || !path.exists() {
            return;
        }
    }
}

impl Target for LayoutTarget {
    fn adopts(&self, blob: &Descriptor, _source: &dyn Source) -> Result<bool> {
        let path = blob_path(blob.digest())?;
        Ok(self.root.join(&path).is_file() || self.staging().join(&path).is_file())
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>> {
        let directory = self.staging().join(BLOBS);
        let file = NamedTempFile::with_prefix_in(".keycell-", &directory).map_err(self.cannot())?;
        Ok(Box::new(NewFile { target: self, file, hash: Sha256::new(), length: 0 }))
    }

    fn document(&self, _descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        let mut blob = self.blob()?;
        blob.write_all(bytes).map_err(self.cannot())?;
        blob.keep().map(drop)
    }

    fn publish(self: Box<Self>, entry: Descriptor, bytes: &[u8]) -> Result<()> {
        let staged = self.complete(entry, bytes)?;
        let _uninterrupted = interrupt::pause();
        match self.index {
            Some(_) => self.move_files(&staged),
            None => self.move_directory(),
        }
        .map_err(self.cannot())
    }
}

impl LayoutTarget {
    /// Adds the index or the manifest of the whole image to the directory that has all that is new, and
    /// returns the path of the list there.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn complete(&self, mut entry: Descriptor, bytes: &[u8]) -> Result<PathBuf> {
        self.document(&entry, bytes)?;
        entry.rename(self.tag.as_deref());
        let mut index = self.index.clone().unwrap_or_default();
        index.manifests.retain(|other| match &self.tag {
            Some(tag) => other.tag() != Some(tag),
            None => other.tag().is_some() || other.digest != entry.digest,
        });
        index.manifests.push(entry);
        let staged = self.staging().join(index::FILE);
        write(&staged, &json(&index)).map_err(self.cannot())?;
        let version = self.staging().join("oci-layout");
        write(&version, br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(self.cannot())?;
        Ok(staged)
    }

    /// Moves what is new into the layout that is there, and its list last.
    fn move_files(&self, list: &Path) -> io::Result<()> {
        let blobs = self.root.join(BLOBS);
        fs::create_dir_all(&blobs)?;
        for blob in fs::read_dir(self.staging().join(BLOBS))? {
            let blob = blob?;
            fs::rename(blob.path(), blobs.join(blob.file_name()))?;
        }
        fs::rename(list, self.root.join(index::FILE))
    }

    /// Moves the new layout to its place. This replaces an empty directory.
    fn move_directory(&self) -> io::Result<()> {
        fs::set_permissions(self.staging(), Permissions::from_mode(0o755))?;
        fs::rename(self.staging(), &self.root)
    }
}

fn json(index: &Index) -> Vec<u8> {
    serde_json::to_vec(index).unwrap_or_default()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A blob of a layout that is being written.
struct NewFile<'a> {
    target: &'a LayoutTarget,
    file: NamedTempFile,
    hash: Sha256,
    length: u64,
}

impl NewBlob for NewFile<'_> {
    fn keep(self: Box<Self>) -> Result<Kept> {
        let Self { target, file, hash, length } = *self;
        let digest = digest::finish(hash);
        let path = target.staging().join(blob_path(&digest)?);
        // Readable by everyone, as skopeo does. Temporary files are readable only by their owner.
        let keep = || {
            file.as_file().set_permissions(Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        keep().map_err(target.cannot())?;
        Ok(Kept { digest, size: length })
    }
}

impl Write for NewFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The text of `NamedTempFile` names the temporary file.
        let cannot = |error| io::Error::other(self.target.cannot()(error));
        let written = self.file.as_file().write(bytes).map_err(cannot)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
