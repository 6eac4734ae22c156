//! The directory of a layout that is written: what is there, what is made, and how files come into it.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::Builder;

use super::{BLOBS, VERSION, index};
use crate::digest;
use crate::interrupt::OnSignal;

/// What the names of temporary files and directories begin with.
pub const TEMPORARY: &str = ".keycell-";

/// Directories that are removed if they are empty when this is dropped, or when a signal ends the program.
pub struct NewDirectories {
    made: Vec<PathBuf>,
    _on_signal: OnSignal,
}

impl NewDirectories {
    /// Makes the directory and all parents of it that are not there.
    ///
    /// # Errors
    /// A directory that cannot be made. None stays.
    pub fn make(path: &Path) -> io::Result<Self> {
        let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made: Vec<_> = path.ancestors().take_while(is_new).map(Path::to_owned).collect();
        let removed = made.clone();
        let _on_signal = OnSignal::new(move || remove_empty(&removed));
        let directories = Self { made, _on_signal };
        fs::create_dir_all(path)?;
        Ok(directories)
    }
}

impl Drop for NewDirectories {
    fn drop(&mut self) {
        remove_empty(&self.made);
    }
}

fn remove_empty(directories: &[PathBuf]) {
    for directory in directories {
        let _ = fs::remove_dir(directory);
    }
}

/// Whether the file or the directory is there. Links are followed.
///
/// # Errors
/// A link to what is not there, also among the parents, and a path that no file can have.
pub fn is_there(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    // The ancestors of `link/` begin with `link/` itself, which is no link.
    let plain: PathBuf = path.components().collect();
    for link in plain.ancestors() {
        if let Ok(to) = fs::read_link(link)
            && !link.exists()
        {
            let (link, to) = (link.display(), to.display());
            let text = format!("`{link}` is a link to `{to}`, which is not there");
            return Err(io::Error::other(text));
        }
    }
    Ok(false)
}

/// Whether there is nothing in the directory but what other runs of this program are writing.
///
/// # Errors
/// A directory that cannot be read.
pub fn is_empty(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if !entry?.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Checks that a layout can get blobs, before there are any.
///
/// # Errors
/// A directory for blobs that is something else, or that cannot be written to.
pub fn takes_blobs(directory: &Path) -> io::Result<()> {
    let blobs = directory.join(BLOBS);
    match is_there(&blobs)? {
        true => tempfile::tempfile_in(blobs).map(drop),
        false => Ok(()),
    }
}

/// Waits until no other run of this program changes the layout. Others wait until the file is closed.
///
/// # Errors
/// A directory that cannot be locked.
pub fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    file.lock()?;
    Ok(file)
}

/// Whether the file has this digest, and this length if one is given. No file has none.
///
/// # Errors
/// A file that cannot be read.
pub fn has_content(path: &Path, digest: &str, size: Option<u64>) -> io::Result<bool> {
    let length = match fs::metadata(path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if size.is_some_and(|size| size != length) {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest::finish(hash) == digest),
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The size of a read, in bytes.
const CHUNK: usize = 256 * 1024;

/// Moves the blobs of the layout `from` into the layout `to`, and the list of `from` in place of the one of
/// `to` at the end.
///
/// # Errors
/// A file that cannot be moved. Those that were moved are removed again.
pub fn move_files(from: &Path, to: &Path) -> io::Result<()> {
    // The blobs are removed before the directories.
    let _directories = NewDirectories::make(&to.join(BLOBS))?;
    let mut moved = Moved(Vec::new());
    for blob in fs::read_dir(from.join(BLOBS))? {
        let blob = blob?;
        let path = to.join(BLOBS).join(blob.file_name());
        let digest = format!("sha256:{}", blob.file_name().display());
        if !has_content(&path, &digest, None)? {
            moved.add(&blob.path(), path)?;
        }
    }
    if !is_there(&to.join(VERSION))? {
        moved.add(&from.join(VERSION), to.join(VERSION))?;
    }
    fs::rename(from.join(index::FILE), to.join(index::FILE))?;
    moved.0.clear();
    Ok(())
}

/// Files that are removed when this is dropped.
struct Moved(Vec<PathBuf>);

impl Moved {
    fn add(&mut self, from: &Path, to: PathBuf) -> io::Result<()> {
        match fs::rename(from, &to) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => copy(from, &to)?,
            renamed => renamed?,
        }
        self.0.push(to);
        Ok(())
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Copies to another file system. The copy has its name only when it is complete.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let within = to.parent().unwrap_or(to);
    let everyone = Permissions::from_mode(0o644);
    let mut copy = Builder::new().prefix(TEMPORARY).permissions(everyone).tempfile_in(within)?;
    io::copy(&mut File::open(from)?, copy.as_file_mut())?;
    copy.as_file().sync_all()?;
    copy.persist(to)?;
    Ok(())
}
