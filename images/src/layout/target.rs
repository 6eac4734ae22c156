//! Writes an OCI image layout. All that is written lies in a directory of its own until the image is
//! complete, so that nothing of it stays if it never is.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tempfile::{Builder, NamedTempFile, TempDir};

use super::directory::{self, NewDirectories, TEMPORARY};
use super::{BLOBS, VERSION, blob_path, index};
use crate::choice::{Choice, Chosen};
use crate::digest;
use crate::documents::{Descriptor, Index};
use crate::error::{Error, NameError, Result};
use crate::interrupt::{self, OnSignal};
use crate::place::{Kept, NewBlob, Source, Target};

/// A layout that an image is added to.
pub struct LayoutTarget {
    /// The layout as it was named, or what is made of it.
    shown: PathBuf,
    root: PathBuf,
    choice: Choice,
    replace: bool,
    /// Whether `root` was not there.
    is_new: bool,
    /// What is new, as a layout: beside a new layout, or within a directory that is there.
    staging: TempDir,
    _on_signal: OnSignal,
    /// The parents of a new layout, which stay if the layout does.
    _parents: Option<NewDirectories>,
}

impl LayoutTarget {
    /// Prepares a layout in `root`. The image gets a name if one is chosen.
    ///
    /// # Errors
    /// A directory that cannot be written to, that holds something else, or that has an image of this
    /// name that is not to be replaced.
    pub fn open(root: &Path, choice: &Choice, replace: bool) -> Result<Self> {
        if !is_destination(choice) {
            return Err(NameError::NotADestination(super::name(root, choice)).into());
        }
        let cannot = |error| Error::Write { path: root.to_owned(), error: plain(error) };
        if directory::is_there(root).map_err(cannot)? {
            if !root.is_dir() {
                return Err(Error::NoLayout(root.to_owned()));
            }
            let _locked = directory::lock(root).map_err(cannot)?;
            replaced(root, &list(root)?, choice, replace)?;
            directory::takes_blobs(root).map_err(cannot)?;
            return Self::stage(root, root, choice, None).map(|it| Self { replace, ..it });
        }
        // Without a slash or `/.` at the end, with which nothing can be renamed to it.
        let new: PathBuf = root.components().collect();
        if new.file_name().is_none() {
            return Err(cannot(ErrorKind::NotFound.into()));
        }
        let parents = NewDirectories::make(parent(&new)).map_err(cannot)?;
        // A name that is too long is told where the parent is there.
        directory::is_there(&new).map_err(cannot)?;
        let target = Self::stage(parent(&new), root, choice, Some(parents))?;
        Ok(Self { root: new, replace, is_new: true, ..target })
    }

    /// Prepares a layout in a directory within `within` that is removed in the end. Messages name `shown`,
    /// which is made of the layout.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn temporary(within: &Path, shown: &Path, choice: &Choice) -> Result<Self> {
        if !is_destination(choice) {
            let name = Chosen("oci-archive", shown.display(), choice).to_string();
            return Err(NameError::NotADestination(name).into());
        }
        Self::stage(within, shown, choice, None)
    }

    fn stage(
        within: &Path,
        shown: &Path,
        choice: &Choice,
        parents: Option<NewDirectories>,
    ) -> Result<Self> {
        let cannot = |error| Error::Write { path: shown.to_owned(), error: plain(error) };
        let staging = Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(within)
            .map_err(cannot)?;
        let path = staging.path().to_owned();
        let _on_signal = OnSignal::new(move || remove(&path));
        fs::create_dir_all(staging.path().join(BLOBS)).map_err(cannot)?;
        Ok(Self {
            shown: shown.to_owned(),
            root: shown.to_owned(),
            choice: choice.clone(),
            replace: false,
            is_new: false,
            staging,
            _on_signal,
            _parents: parents,
        })
    }

    /// The directory that has all that is new.
    pub fn staging(&self) -> &Path {
        self.staging.path()
    }

    /// Makes an error of what failed while the layout was written.
    pub fn cannot(&self) -> impl FnOnce(io::Error) -> Error + Copy + '_ {
        |error| Error::Write { path: self.shown.clone(), error: plain(error) }
    }
}

/// The error of the system without the path of a temporary file, which tempfile adds.
fn plain(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let errno = match error.kind() {
        io::ErrorKind::NotFound => Errno::NOENT,
        io::ErrorKind::PermissionDenied => Errno::ACCESS,
        io::ErrorKind::ReadOnlyFilesystem => Errno::ROFS,
        io::ErrorKind::StorageFull => Errno::NOSPC,
        io::ErrorKind::QuotaExceeded => Errno::DQUOT,
        _ => return error,
    };
    errno.into()
}

fn is_destination(choice: &Choice) -> bool {
    matches!(choice, Choice::Only | Choice::Named(_))
}

/// The list of the layout in `root`, or an empty one if the directory is empty.
fn list(root: &Path) -> Result<Index> {
    let list = root.join(index::FILE);
    if list.is_file() {
        return index::read(&list);
    }
    match directory::is_empty(root) {
        Ok(true) => Ok(Index::default()),
        Ok(false) => Err(Error::NoLayout(root.to_owned())),
        Err(error) => Err(Error::Read { shown: root.display().to_string(), error }),
    }
}

/// The position of the image whose name the new one takes.
fn replaced(root: &Path, list: &Index, choice: &Choice, replace: bool) -> Result<Option<usize>> {
    let found = index::holder(&list.manifests, choice, |choice| super::name(root, choice))?;
    match found {
        Some(_) if !replace => Err(Error::Exists { name: super::name(root, choice) }),
        found => Ok(found),
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
        // What cannot be read has to be replaced, too.
        let is_good = directory::has_content(&self.root.join(&path), blob.digest(), blob.size);
        Ok(is_good.unwrap_or(false) || self.staging().join(&path).is_file())
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>> {
        let directory = self.staging().join(BLOBS);
        let file = NamedTempFile::with_prefix_in(TEMPORARY, &directory).map_err(self.cannot())?;
        Ok(Box::new(NewFile { target: self, file, hash: Sha256::new(), length: 0 }))
    }

    fn document(&self, _descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        let mut blob = self.blob()?;
        blob.write_all(bytes).map_err(|error| Error::from_io(error, self.cannot()))?;
        blob.keep().map(drop)
    }

    fn publish(self: Box<Self>, entry: Descriptor, bytes: &[u8]) -> Result<()> {
        if self.is_new {
            self.complete(entry.clone(), bytes)?;
            let _uninterrupted = interrupt::pause();
            match self.move_directory() {
                // Another run has made it in the meantime.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                moved => return moved.map_err(self.cannot()),
            }
        }
        self.add(entry, bytes)
    }
}

impl LayoutTarget {
    /// Makes a layout with this image alone in the directory that has all that is new.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn complete(&self, entry: Descriptor, bytes: &[u8]) -> Result<()> {
        self.document(&entry, bytes)?;
        self.write_list(Index::default(), None, entry)
    }

    /// Adds the image to the layout that is there, as it is now.
    fn add(&self, entry: Descriptor, bytes: &[u8]) -> Result<()> {
        self.document(&entry, bytes)?;
        let _locked = directory::lock(&self.root).map_err(self.cannot())?;
        let list = list(&self.root)?;
        let replaced = replaced(&self.shown, &list, &self.choice, self.replace)?;
        self.write_list(list, replaced, entry)?;
        let _uninterrupted = interrupt::pause();
        directory::move_files(self.staging(), &self.root).map_err(self.cannot())
    }

    fn write_list(
        &self,
        mut list: Index,
        replaced: Option<usize>,
        mut entry: Descriptor,
    ) -> Result<()> {
        match &self.choice {
            Choice::Named(name) => entry.rename(Some(name)),
            _ => {
                entry.rename(None);
                list.manifests
                    .retain(|other| index::is_named(other) || other.digest != entry.digest);
            }
        }
        if let Some(position) = replaced {
            list.manifests.remove(position);
        }
        list.manifests.push(entry);
        let bytes = serde_json::to_vec(&list).unwrap_or_default();
        write(&self.staging().join(index::FILE), &bytes).map_err(self.cannot())?;
        let version = self.staging().join(VERSION);
        write(&version, br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(self.cannot())
    }

    /// Moves the new layout to its place. This replaces an empty directory.
    fn move_directory(&self) -> io::Result<()> {
        fs::set_permissions(self.staging(), Permissions::from_mode(0o755))?;
        fs::rename(self.staging(), &self.root)
    }
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
