//! `oci-archive:` as a destination: an OCI image layout that becomes a tar archive when it is complete.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};
use tempfile::{Builder, NamedTempFile};

use super::input;
use crate::choice::{ArchiveFile, Choice, Chosen};
use crate::documents::Descriptor;
use crate::error::{ArchiveError, Error, Result, Stream};
use crate::interrupt;
use crate::layout::{self, BLOBS, LayoutTarget};
use crate::place::{NewBlob, Source, Target};

/// Prepares an archive with an OCI image layout. The layout lies in a directory beside the archive until it is
/// complete, or in the directory for temporary files if the archive goes to standard output.
///
/// # Errors
/// A file that is there and not to be replaced, or that cannot be written.
pub fn create(file: &ArchiveFile, choice: &Choice, replace: bool) -> Result<Box<dyn Target>> {
    let (path, within) = match file {
        ArchiveFile::Standard if io::stdout().is_terminal() => {
            return Err(ArchiveError::Terminal(Stream::Output).into());
        }
        ArchiveFile::Standard => (None, input::directory()),
        ArchiveFile::Path(path) => {
            let path = resolve(path)?;
            if path.is_file() && !replace {
                let name = Chosen("oci-archive", file, choice).to_string();
                return Err(Error::Exists { name });
            }
            let within = path.parent().map(Path::to_owned).unwrap_or_default();
            (Some(path), within)
        }
    };
    let layout = LayoutTarget::temporary(&within, Path::new(&file.to_string()), choice)?;
    Ok(Box::new(ArchiveTarget { layout, path, replace }))
}

/// The path of the file itself: a link to it stays. What is there and no regular file is never replaced, and
/// neither is a link to what is not there.
fn resolve(path: &Path) -> Result<PathBuf> {
    let cannot = |error| Error::Write { path: path.to_owned(), error };
    if !layout::is_there(path).map_err(cannot)? {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
            return Err(cannot(io::ErrorKind::IsADirectory.into()));
        }
        let has_parent = path.parent().is_some_and(|parent| !parent.as_os_str().is_empty());
        return Ok(if has_parent { path.to_owned() } else { Path::new(".").join(path) });
    }
    let path = fs::canonicalize(path).map_err(cannot)?;
    match path.is_file() {
        true => Ok(path),
        false => Err(ArchiveError::NotAFile(path).into()),
    }
}

struct ArchiveTarget {
    layout: LayoutTarget,
    /// The archive, or none for standard output.
    path: Option<PathBuf>,
    replace: bool,
}

impl Target for ArchiveTarget {
    fn adopts(&self, blob: &Descriptor, source: &dyn Source) -> Result<bool> {
        self.layout.adopts(blob, source)
    }

    fn blob(&self) -> Result<Box<dyn NewBlob + '_>> {
        self.layout.blob()
    }

    fn document(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        self.layout.document(descriptor, bytes)
    }

    fn publish(self: Box<Self>, entry: Descriptor, bytes: &[u8]) -> Result<()> {
        self.layout.complete(entry, bytes)?;
        match &self.path {
            None => self.write_to_standard_output().map_err(self.layout.cannot()),
            Some(path) => self.write_to(path),
        }
    }
}

impl ArchiveTarget {
    fn write_to_standard_output(&self) -> io::Result<()> {
        // Rust's standard output is buffered by lines.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        pack(self.layout.staging(), file).map(drop)
    }

    /// The archive is written within the directory that is removed if it is not complete.
    fn write_to(&self, path: &Path) -> Result<()> {
        let cannot = self.layout.cannot();
        // As the umask has it: temporary files are readable only by their owner.
        let everyone = Permissions::from_mode(0o666);
        let directory = tempfile::tempdir_in(self.layout.staging()).map_err(cannot)?;
        let mut archive =
            Builder::new().permissions(everyone).tempfile_in(&directory).map_err(cannot)?;
        pack(self.layout.staging(), archive.as_file_mut()).map_err(cannot)?;
        archive.as_file().sync_all().map_err(cannot)?;
        let _uninterrupted = interrupt::pause();
        self.rename(archive, path)
    }

    fn rename(&self, archive: NamedTempFile, path: &Path) -> Result<()> {
        let renamed = match self.replace {
            true => archive.persist(path),
            false => archive.persist_noclobber(path),
        };
        match renamed {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists { name: format!("oci-archive:{}", path.display()) })
            }
            Err(error) => Err(self.layout.cannot()(error.error)),
        }
    }
}

/// Writes a layout as a tar archive: sorted, without times and owners, so that the same layout is always the
/// same archive. Each file is removed once it is in the archive, so that the disk never has all of it twice.
fn pack(layout: &Path, to: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    let mut blobs: Vec<_> = fs::read_dir(layout.join(BLOBS))?.collect::<io::Result<_>>()?;
    blobs.sort_by_key(fs::DirEntry::file_name);
    for directory in ["blobs/", "blobs/sha256/"] {
        let mut header = header(EntryType::Directory, 0o755, 0);
        archive.append_data(&mut header, directory, io::empty())?;
    }
    let blobs = blobs.iter().map(|blob| Path::new(BLOBS).join(blob.file_name()));
    for path in blobs.chain(["index.json".into(), "oci-layout".into()]) {
        let file = layout.join(&path);
        let content = File::open(&file)?;
        let mut header = header(EntryType::Regular, 0o644, content.metadata()?.len());
        archive.append_data(&mut header, &path, content)?;
        fs::remove_file(file)?;
    }
    archive.into_inner()?.flush()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
