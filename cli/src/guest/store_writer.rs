//! Writes guests to the store atomically.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use keycell_guest_store::record::Record;
use keycell_guest_store::store::{ARTEFACT, RECORD, SIGNATURE, SOURCE, Store};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

/// All files of a guest.
pub struct Parts {
    /// Its record.
    pub record: Record,
    /// Its native code.
    pub artefact: Vec<u8>,
    /// Its source.
    pub source: Vec<u8>,
    /// The signature over that file.
    pub signature: Option<String>,
}

/// Opens the store at `path`, and creates it if it does not exist.
///
/// # Errors
/// A store that cannot be created, or that others can write to.
pub fn open(path: &Path) -> Result<Store> {
    let shown = path.display();
    if !path.exists() {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.with_context(|| format!("cannot make the guest store `{shown}`"))?;
        // Whatever the umask is: a decoder may run as another user.
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
    }
    let store = Store::open(path)?;
    store.with_context(|| format!("the guest store `{shown}` was removed"))
}

/// Adds a guest to the store. A decoder that starts meanwhile sees either the whole guest or none.
///
/// # Errors
/// A guest of this name that exists, unless it is to be replaced; a full disk.
pub fn write(store: &Store, parts: &Parts, replace: bool) -> Result<()> {
    let name = &parts.record.name;
    let staged = stage(store, parts).with_context(|| {
        format!("cannot write the guest `{name}` to `{}`", store.path().display())
    })?;
    let target = store.path().join(name);
    let moved = match renameat_with(CWD, staged.path(), CWD, &target, RenameFlags::NOREPLACE) {
        // The old one is then where the new one was staged, and goes with it.
        Err(Errno::EXIST) if replace => {
            renameat_with(CWD, staged.path(), CWD, &target, RenameFlags::EXCHANGE)
        }
        moved => moved,
    };
    match moved {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let message = format!("there is a guest `{name}` already");
            bail!(Diagnostic::new(message, ToolHint::GuestExists));
        }
        Err(error) => {
            return Err(io::Error::from(error))
                .with_context(|| format!("cannot put `{}` in its place", target.display()));
        }
    }
    File::open(store.path())?.sync_all()?;
    Ok(())
}

/// A temporary directory on the file system of the store. It is removed unless it is moved.
fn stage(store: &Store, parts: &Parts) -> Result<TempDir> {
    let staged = tempfile::Builder::new().prefix(".new-").tempdir_in(store.path())?;
    let json = parts.record.to_json();
    let signature = parts.signature.as_ref().map(|text| (SIGNATURE, text.as_bytes()));
    let files = [(SOURCE, &*parts.source), (ARTEFACT, &*parts.artefact), (RECORD, json.as_bytes())];
    for (name, bytes) in files.into_iter().chain(signature) {
        let mut file = File::create_new(staged.path().join(name))?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
    }
    fs::set_permissions(staged.path(), Permissions::from_mode(0o755))?;
    File::open(staged.path())?.sync_all()?;
    Ok(staged)
}
