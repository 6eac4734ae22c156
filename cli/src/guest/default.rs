//! `keycell guest default`.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use clap::Args;
use keycell_guest_store::store::{DEFAULT, EMBEDDED, Store};

use super::StoreOption;

#[derive(Args)]
pub struct Arguments {
    /// Which guest; `embedded` is the decoder's own. Without it, the default is shown
    name: Option<String>,
    #[command(flatten)]
    store: StoreOption,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let Some(name) = &arguments.name else {
        let store = Store::open(&arguments.store.directory)?;
        let default = match &store {
            Some(store) => store.default_guest()?,
            None => None,
        };
        return Ok(Outcome::Is(default.unwrap_or_else(|| EMBEDDED.to_owned())));
    };
    let store = arguments.store.open()?;
    let path = store.path().join(DEFAULT);
    let cannot = || format!("cannot write `{}`", path.display());
    if name == EMBEDDED {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(cannot);
            }
            _ => return Ok(Outcome::SetToEmbedded),
        }
    }
    // A default that is refused would stop every layer on this node.
    store.guest(name)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(store.path())?;
    file.write_all(format!("{name}\n").as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(&path).with_context(cannot)?;
    fs::File::open(store.path())?.sync_all()?;
    Ok(Outcome::SetTo(name.clone()))
}

/// The default guest, as it is or as it was set.
pub enum Outcome {
    Is(String),
    SetTo(String),
    SetToEmbedded,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(name) => writeln!(f, "{name}"),
            Self::SetTo(name) => writeln!(f, "the default guest is `{name}`"),
            Self::SetToEmbedded => writeln!(f, "the default guest is the decoder's own"),
        }
    }
}
