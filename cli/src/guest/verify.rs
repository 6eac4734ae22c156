//! `keycell guest verify`.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::fmt;
use std::io::Read;

use anyhow::{Result, bail};
use clap::Args;
use keycell_guest_store::record::Digest;
use keycell_guest_store::store::{Installed, SIGNATURE, SOURCE, Store};

use crate::failure::hints_of;

use super::StoreOption;
use super::install::compiled;
use super::signature::still_verifies;
use super::store_writer::Parts;

#[derive(Args)]
pub struct Arguments {
    /// Which guests; otherwise all
    names: Vec<String>,
    #[command(flatten)]
    store: StoreOption,
}

/// Checks all that the decoder checks, and whether the source compiles to the code and has the
/// signature that was installed.
pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let store = arguments.store.open()?;
    let names = if arguments.names.is_empty() { store.names() } else { arguments.names.clone() };
    let mut verified = Vec::new();
    let mut bad = Vec::new();
    for name in &names {
        match verify(&store, name) {
            Ok(check) => verified.push((name.clone(), check)),
            Err(error) => bad.push(error),
        }
    }
    // The first one is to be solved first.
    let Some(first) = bad.first() else { return Ok(Outcome { verified }) };
    let hints = hints_of(first);
    let message = bad.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("; ");
    bail!(Diagnostic { message, hints })
}

/// The hint for an installed guest that cannot be used.
/// What was verified.
pub struct Outcome {
    verified: Vec<(String, Check)>,
}

enum Check {
    Code,
    CodeAndSignature,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, check) in &self.verified {
            let and_signed = match check {
                Check::Code => "",
                Check::CodeAndSignature => ", and the source is as it was signed",
            };
            writeln!(f, "`{name}`: the code is what the source compiles to{and_signed}")?;
        }
        Ok(())
    }
}

pub(super) fn reinstall(store: &Store, name: &str) -> ToolHint {
    ToolHint::ReinstallGuest { command: store.command("install --replace FILE --name", name) }
}

fn verify(store: &Store, name: &str) -> Result<Check> {
    let mut found = store.guest(name)?;
    let reinstall = reinstall(store, name);
    let mut artefact = Vec::new();
    found.artefact.read_to_end(&mut artefact)?;
    if Digest::of(&artefact) != found.record.artefact {
        let hint = ToolHint::RebuildGuest { command: store.command("rebuild", name) };
        let what = format!("the code of the guest `{name}` is not what was installed");
        bail!(Diagnostic::new(what, hint));
    }
    let source = checked_source(&found, &reinstall)?;
    let compiled = of_source(&found, source)?;
    if compiled.artefact != artefact {
        let what = format!("the code of the guest `{name}` is not what its source compiles to");
        bail!(Diagnostic::new(what, reinstall));
    }
    Ok(match found.record.signature {
        Some(_) => Check::CodeAndSignature,
        None => Check::Code,
    })
}

/// The source of a guest, as it was installed, with its signature.
pub fn checked_source(
    found: &Installed,
    reinstall: &ToolHint,
) -> Result<(Vec<u8>, Option<String>)> {
    let name = &found.record.name;
    let source = found.file(SOURCE)?;
    let Some(source) = source.filter(|source| Digest::of(source) == found.record.source) else {
        let what = format!("the source of the guest `{name}` is not what was installed");
        bail!(Diagnostic::new(what, reinstall.clone()));
    };
    let Some(signature) = &found.record.signature else { return Ok((source, None)) };
    let text = found.file(SIGNATURE)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    still_verifies(&source, &text, signature)?;
    Ok((source, Some(text)))
}

/// Compiles the same guest.
pub fn of_source(found: &Installed, source: (Vec<u8>, Option<String>)) -> Result<Parts> {
    let record = found.record.clone();
    let shown = format!("{}/{SOURCE}", record.name);
    compiled(record.name, source.0, &shown, record.signature, source.1, record.cpu)
}
