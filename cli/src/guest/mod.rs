//! `keycell guest`: installs and manages guests that `ctd-decoder` may run instead of its own.

mod default;
mod imports;
mod install;
mod rebuild;
mod remove;
mod show;
mod signature;
mod source;
mod store_writer;
mod verify;

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::fmt::Display;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use keycell_guest_store::store::{DEFAULT_STORE, Store};

/// The subcommands of `keycell guest`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check a guest, compile it for this machine, and put it into the store
    Install(install::Arguments),
    /// List the guests that are installed
    List(show::List),
    /// Show the record of a guest
    Show(show::Show),
    /// Check guests against their records, their signatures and their sources
    Verify(verify::Arguments),
    /// Recompile guests from their sources, for example after an upgrade
    Rebuild(rebuild::Arguments),
    /// Remove a guest from the store
    Remove(remove::Arguments),
    /// Set or show the guest that `ctd-decoder` uses without `--guest`
    Default(default::Arguments),
}

/// The guest store that a command is about.
#[derive(Args)]
struct StoreOption {
    /// The directory with the installed guests
    #[arg(long = "store", value_name = "DIR", default_value = DEFAULT_STORE)]
    directory: PathBuf,
}

impl StoreOption {
    /// Opens the store, which must exist.
    fn open(&self) -> Result<Store> {
        let shown = self.directory.display();
        Store::open(&self.directory)?.ok_or_else(|| {
            let message = format!("there is no guest store `{shown}`");
            Diagnostic::new(message, ToolHint::NoGuestStore).into()
        })
    }
}

/// Runs the subcommand and returns its output.
///
/// # Errors
/// Why the subcommand fails.
pub fn run(arguments: &Arguments) -> Result<Box<dyn Display>> {
    Ok(match &arguments.verb {
        Verb::Install(arguments) => Box::new(install::run(arguments)?),
        Verb::List(arguments) => Box::new(show::list(arguments)?),
        Verb::Show(arguments) => Box::new(show::show(arguments)?),
        Verb::Verify(arguments) => Box::new(verify::run(arguments)?),
        Verb::Rebuild(arguments) => Box::new(rebuild::run(arguments)?),
        Verb::Remove(arguments) => Box::new(remove::run(arguments)?),
        Verb::Default(arguments) => Box::new(default::run(arguments)?),
    })
}
