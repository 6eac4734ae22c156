//! An OCI image layout that is written: nothing of it is seen before all of it is there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

use crate::image_documents::{Descriptor, Index};
use crate::layout::{self, sha256};

/// Where an image goes. A new layout is made beside its place and moved there at the end; in one
/// that is there already, blobs are added, and `index.json` is replaced at the end.
pub struct Target {
    root: PathBuf,
    /// The new layout, until it is moved.
    staging: Option<TempDir>,
}

impl Target {
    /// Prepares a layout in `root`.
    ///
    /// # Errors
    /// Where nothing can be written, or something else is there.
    pub fn open(root: &Path) -> Result<Self> {
        let shown = root.display();
        let cannot = || format!("cannot write to `{shown}`");
        if root.join("index.json").is_file() {
            fs::create_dir_all(root.join("blobs/sha256")).with_context(cannot)?;
            return Ok(Self { root: root.to_owned(), staging: None });
        }
        let empty = |mut entries: fs::ReadDir| entries.next().is_none();
        anyhow::ensure!(
            !root.exists() || fs::read_dir(root).is_ok_and(empty),
            "`{shown}` is there and no OCI image layout: name another destination"
        );
        let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).with_context(cannot)?;
        let staging = TempDir::with_prefix_in(".keycell-", parent).with_context(cannot)?;
        fs::create_dir_all(staging.path().join("blobs/sha256")).with_context(cannot)?;
        fs::write(staging.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .with_context(cannot)?;
        Ok(Self { root: root.to_owned(), staging: Some(staging) })
    }

    /// A file for a blob whose digest is not known yet.
    ///
    /// # Errors
    /// Where nothing can be written.
    pub fn blob(&self) -> Result<NewBlob> {
        let blobs = self.directory().join("blobs/sha256");
        let file = NamedTempFile::with_prefix_in(".keycell-", &blobs);
        let file = file.with_context(|| format!("cannot write to `{}`", self.root.display()))?;
        Ok(NewBlob { file, hash: Sha256::new(), length: 0, blobs })
    }

    /// Adds an index or a manifest.
    ///
    /// # Errors
    /// Where nothing can be written.
    pub fn document(&self, document: &impl Serialize) -> Result<Kept> {
        let mut blob = self.blob()?;
        blob.write_all(&serde_json::to_vec(document)?)?;
        blob.keep()
    }

    /// Whether a blob is there already.
    pub fn holds(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.directory().join(layout::blob_path(descriptor)?).is_file())
    }

    /// Lists the image as `tag`, in the place of one that had this tag, and shows the whole.
    ///
    /// # Errors
    /// Where nothing can be written.
    pub fn publish(self, mut entry: Descriptor, tag: Option<&str>) -> Result<()> {
        if let Some(tag) = tag {
            entry.set_tag(tag);
        }
        let directory = self.directory().to_owned();
        let path = directory.join("index.json");
        let mut index = match &self.staging {
            Some(_) => Index::default(),
            None => layout::parse(&path, &fs::read(&path)?)?,
        };
        index.manifests.retain(|other| {
            other.tag() != entry.tag() || (entry.tag().is_none() && other.digest != entry.digest)
        });
        index.manifests.push(entry);
        let mut file = NamedTempFile::with_prefix_in(".keycell-", &directory)?;
        file.write_all(&serde_json::to_vec(&index)?)?;
        readable(file.as_file())?;
        file.as_file().sync_all()?;
        file.persist(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        if let Some(staging) = self.staging {
            let shown = self.root.display();
            // An empty directory gives way.
            fs::rename(staging.path(), &self.root)
                .with_context(|| format!("cannot move the image to `{shown}`"))?;
            readable_directory(&self.root)?;
            let _ = staging.keep(); // it is no longer there to be removed
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.staging.as_ref().map_or(&self.root, TempDir::path)
    }
}

/// A blob that is being written. It vanishes if it is not kept.
pub struct NewBlob {
    file: NamedTempFile,
    hash: Sha256,
    length: u64,
    blobs: PathBuf,
}

impl NewBlob {
    /// Gives it its name.
    ///
    /// # Errors
    /// Where nothing can be written.
    pub fn keep(self) -> Result<Kept> {
        let digest = sha256(&self.hash.finalize());
        readable(self.file.as_file())?;
        self.file.as_file().sync_all()?;
        let path = self.blobs.join(digest.trim_start_matches("sha256:"));
        self.file.persist(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Kept { digest, size: self.length })
    }
}

/// A blob that has its name.
pub struct Kept {
    /// Its digest, as it is written.
    pub digest: String,
    size: u64,
}

impl Kept {
    /// Makes `descriptor` that of this blob.
    pub fn describe(self, descriptor: &mut Descriptor) {
        descriptor.digest = Some(self.digest);
        descriptor.size = Some(self.size);
    }
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Temporary files are their owner's alone; blobs of an image are for everyone, as skopeo has it.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

fn readable_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
