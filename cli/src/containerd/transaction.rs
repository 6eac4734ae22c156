//! Changes of files that are all made or all taken back.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// What a copy of a file that is changed is called.
const BACKUP: &str = ".before-keycell";

/// Changes so far, and how to take them back.
#[derive(Default)]
pub struct Transaction {
    undo: Vec<Undo>,
}

enum Undo {
    Restore(PathBuf, Vec<u8>),
    Remove(PathBuf),
    RemoveDirectory(PathBuf),
}

impl Transaction {
    /// Writes a file as a whole. A file that exists keeps its owner and its mode, and a link still links.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&mut self, file: &Path, text: &[u8]) -> Result<()> {
        let shown = file.display();
        let former = match fs::read(file) {
            Ok(former) => Some(former),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read `{shown}`")),
        };
        replace(file, text).with_context(|| format!("cannot write `{shown}`"))?;
        self.undo.push(match former {
            Some(former) => Undo::Restore(file.to_owned(), former),
            None => Undo::Remove(file.to_owned()),
        });
        Ok(())
    }

    /// Keeps a copy of a file, unless there is one from before an earlier change.
    ///
    /// # Errors
    /// A copy that cannot be written.
    pub fn back_up(&mut self, file: &Path) -> Result<PathBuf> {
        let copy = backup(file);
        if !copy.exists() {
            fs::copy(file, &copy).with_context(|| format!("cannot write `{}`", copy.display()))?;
            self.undo.push(Undo::Remove(copy.clone()));
        }
        Ok(copy)
    }

    /// Makes a directory. Returns whether it was missing.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn make_directory(&mut self, directory: &Path) -> Result<bool> {
        if directory.is_dir() {
            return Ok(false);
        }
        if let Some(parent) = directory.parent() {
            self.make_directory(parent)?;
        }
        let made = fs::create_dir(directory);
        made.with_context(|| format!("cannot make `{}`", directory.display()))?;
        self.undo.push(Undo::RemoveDirectory(directory.to_owned()));
        Ok(true)
    }

    /// Takes everything back, the last change first.
    ///
    /// # Errors
    /// The first change that cannot be taken back; the others are.
    pub fn take_back(self) -> Result<()> {
        let mut outcome = Ok(());
        for undo in self.undo.into_iter().rev() {
            let (file, undone) = match undo {
                Undo::Restore(file, former) => (file.clone(), replace(&file, &former)),
                Undo::Remove(file) => (file.clone(), fs::remove_file(file)),
                Undo::RemoveDirectory(directory) => (directory.clone(), fs::remove_dir(directory)),
            };
            if let Err(error) = undone {
                let failed =
                    Err(error).with_context(|| format!("cannot restore `{}`", file.display()));
                outcome = outcome.and(failed);
            }
        }
        outcome
    }
}

/// The copy that [`Transaction::back_up`] keeps.
pub fn backup(file: &Path) -> PathBuf {
    let file = real(file);
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(BACKUP);
    file.with_file_name(name)
}

/// Puts another file in its place, or makes it.
pub fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let file = real(file);
    let mut temporary = NamedTempFile::new_in(file.parent().unwrap_or(Path::new("/")))?;
    temporary.write_all(text)?;
    match fs::metadata(&file) {
        Ok(former) => {
            // Who may not give it back does not own it either, and keeps what is possible.
            let _ = fchown(temporary.as_file(), Some(former.uid()), Some(former.gid()));
            temporary.as_file().set_permissions(former.permissions())?;
        }
        Err(_) => temporary.as_file().set_permissions(Permissions::from_mode(0o644))?,
    }
    temporary.as_file().sync_all()?;
    temporary.persist(&file)?;
    Ok(())
}

/// What a link leads to.
fn real(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}
