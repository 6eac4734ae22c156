//! Writes an OCI image layout. The image becomes visible only when it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

use crate::layout::{self, sha256};
use keycell_images::documents::{Descriptor, Index};

/// The destination of an image. A new layout is written to a temporary directory beside it and moved
/// at the end. In an existing layout, blobs are added, and `index.json` is replaced at the end.
pub struct Target {
    root: PathBuf,
    /// The new layout, until it is moved.
    staging: Option<TempDir>,
}

impl Target {
    /// Prepares a layout in `root`.
    ///
    /// # Errors
    /// A directory that cannot be written to, or that holds something else.
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
    /// A file that cannot be written.
    pub fn blob(&self) -> Result<NewBlob> {
        let blobs = self.directory().join("blobs/sha256");
        let file = NamedTempFile::with_prefix_in(".keycell-", &blobs);
        let file = file.with_context(|| format!("cannot write to `{}`", self.root.display()))?;
        Ok(NewBlob { file, hash: Sha256::new(), length: 0, blobs })
    }

    /// Adds an index or a manifest.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn document(&self, document: &impl Serialize) -> Result<Kept> {
        let mut blob = self.blob()?;
        blob.write_all(&serde_json::to_vec(document)?)?;
        blob.keep()
    }

    /// Whether a blob is there already.
    pub fn holds(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.directory().join(layout::blob_path(descriptor)?).is_file())
    }

    /// Lists the image under `tag`, instead of one that had this tag, and makes the layout visible.
    ///
    /// # Errors
    /// A file that cannot be written.
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
            // This replaces an empty directory.
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

/// A blob that is being written. It is removed if it is not kept.
pub struct NewBlob {
    file: NamedTempFile,
    hash: Sha256,
    length: u64,
    blobs: PathBuf,
}

impl NewBlob {
    /// Completes the blob: its digest becomes its name.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(self) -> Result<Kept> {
        let digest = sha256(&self.hash.finalize());
        readable(self.file.as_file())?;
        self.file.as_file().sync_all()?;
        let path = self.blobs.join(digest.trim_start_matches("sha256:"));
        self.file.persist(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Kept { digest, size: self.length })
    }
}

/// A complete blob.
pub struct Kept {
    /// Its digest, as it is written.
    pub digest: String,
    size: u64,
}

impl Kept {
    /// Sets the digest and the size of this blob in `descriptor`.
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

/// Makes a file readable by everyone, as skopeo does. Temporary files are readable only by their owner.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

fn readable_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
