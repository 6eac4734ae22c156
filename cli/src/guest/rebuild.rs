//! `keycell guest rebuild`.

use super::refused;
use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;

use super::install::Cpus;
use super::verify::{checked_source, of_source, reinstall};
use super::{StoreOption, store_writer};

#[derive(Args)]
pub struct Arguments {
    /// Which guests; otherwise all
    names: Vec<String>,
    /// For other CPUs than before
    #[arg(long, value_enum)]
    cpu: Option<Cpus>,
    #[command(flatten)]
    store: StoreOption,
}

/// Compiles guests for the engine of this program, from sources that are unchanged.
pub fn run(arguments: &Arguments) -> Result<String> {
    let store = arguments.store.open()?;
    let names = if arguments.names.is_empty() { store.names() } else { arguments.names.clone() };
    let mut text = String::new();
    for name in &names {
        let mut found = store.find(name).map_err(refused)?;
        let source = checked_source(&found, &reinstall(&store, name))?;
        if let Some(cpu) = arguments.cpu {
            found.record.cpu = cpu.into();
        }
        let parts = of_source(&found, source)?;
        store_writer::write(&store, &parts, true)?;
        writeln!(text, "compiled `{name}` for {}, {}", parts.record.engine, parts.record.cpu)?;
    }
    Ok(text)
}
