//! `keycell guest remove`.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::{fmt, fs};

use anyhow::{Context, Result, bail};
use clap::Args;
use keycell_guest_store::store::{self, EMBEDDED};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::StoreOption;

#[derive(Args)]
pub struct Arguments {
    /// Which guest
    name: String,
    #[command(flatten)]
    store: StoreOption,
}

/// Removes a guest without checking it, so that an altered guest can be removed as well.
pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let name = &arguments.name;
    store::is_name(name)?;
    let store = arguments.store.open()?;
    if store.default_guest()?.as_deref() == Some(name) {
        let hint = ToolHint::GuestIsDefault { command: store.command("default", EMBEDDED) };
        bail!(Diagnostic::new(format!("`{name}` is the default guest"), hint));
    }
    let path = store.path().join(name);
    if fs::symlink_metadata(&path).is_err() {
        bail!(Diagnostic::from(store.unknown(name)));
    }
    // Out of the way first, at once: a decoder must not meet half of it.
    let gone = tempfile::Builder::new().prefix(".gone-").tempdir_in(store.path())?;
    renameat_with(CWD, &path, CWD, gone.path().join(name), RenameFlags::NOREPLACE)
        .map_err(std::io::Error::from)
        .with_context(|| format!("cannot remove `{}`", path.display()))?;
    gone.close().with_context(|| format!("cannot remove all of `{}`", path.display()))?;
    Ok(Outcome { removed: name.clone() })
}

/// What was removed.
pub struct Outcome {
    removed: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "removed `{}`", self.removed)
    }
}
