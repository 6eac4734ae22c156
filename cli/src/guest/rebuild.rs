//! `keycell guest rebuild`.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;

use super::install::Cpus;
use super::verify::{again, checked_source, of_source};
use super::{Place, place};
use crate::failure::Advice;

#[derive(Args)]
pub struct Arguments {
    /// Which guests; otherwise all
    names: Vec<String>,
    /// For other CPUs than before
    #[arg(long, value_enum)]
    cpu: Option<Cpus>,
    #[command(flatten)]
    place: Place,
}

/// For the engine of this program, from sources that are what they were.
pub fn run(arguments: &Arguments) -> Result<String> {
    let store = arguments.place.open()?;
    let names = if arguments.names.is_empty() { store.names() } else { arguments.names.clone() };
    let mut text = String::new();
    for name in &names {
        let mut found = store.find(name).map_err(Advice::from)?;
        let source = checked_source(&found, &again(&store, name))?;
        if let Some(cpu) = arguments.cpu {
            found.record.cpu = cpu.into();
        }
        let parts = of_source(&found, source)?;
        place::place(&store, &parts, true)?;
        writeln!(text, "compiled `{name}` for {}, {}", parts.record.engine, parts.record.cpu)?;
    }
    Ok(text)
}
