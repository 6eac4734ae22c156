//! `keycell guest rebuild`.

use std::fmt;

use anyhow::Result;
use clap::Args;
use keycell_guest_store::record::Record;

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
pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let store = arguments.store.open()?;
    let names = if arguments.names.is_empty() { store.names() } else { arguments.names.clone() };
    let mut compiled = Vec::new();
    for name in &names {
        let mut found = store.find(name)?;
        let source = checked_source(&found, &reinstall(&store, name))?;
        if let Some(cpu) = arguments.cpu {
            found.record.cpu = cpu.into();
        }
        let parts = of_source(&found, source)?;
        store_writer::write(&store, &parts, true)?;
        compiled.push(parts.record);
    }
    Ok(Outcome { compiled })
}

/// What was compiled.
pub struct Outcome {
    compiled: Vec<Record>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Record { name, engine, cpu, .. } in &self.compiled {
            writeln!(f, "compiled `{name}` for {engine}, {cpu}")?;
        }
        Ok(())
    }
}
