//! `keycell guest verify`.

use std::fmt::Write as _;
use std::io::Read;

use anyhow::{Result, bail};
use clap::Args;
use keycell_guest_store::record::Digest;
use keycell_guest_store::store::{Installed, SIGNATURE, SOURCE, Store};

use super::Place;
use super::install::compiled;
use super::place::Parts;
use super::signature::still_verifies;
use crate::failure::Advice;

#[derive(Args)]
pub struct Arguments {
    /// Which guests; otherwise all
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Everything that the decoder looks at, and what it does not: whether the code is what the
/// source compiles to, and whether the signature is still that of the source.
pub fn run(arguments: &Arguments) -> Result<String> {
    let store = arguments.place.open()?;
    let names = if arguments.names.is_empty() { store.names() } else { arguments.names.clone() };
    let mut text = String::new();
    let mut bad = Vec::new();
    for name in &names {
        match verify(&store, name) {
            Ok(what) => writeln!(text, "`{name}`: {what}")?,
            Err(error) => bad.push(error),
        }
    }
    // The hints of the first: its mending comes first.
    let Some(first) = bad.first() else { return Ok(text) };
    let hints = first.downcast_ref::<Advice>().map(|advice| advice.hints.clone());
    let said = bad.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("; ");
    bail!(Advice::with_hints(said, hints.unwrap_or_default()))
}

/// The way out where what was installed is of no use any more.
pub(super) fn again(store: &Store, name: &str) -> String {
    format!("`{}` installs it anew", store.command("install --replace FILE --name", name))
}

fn verify(store: &Store, name: &str) -> Result<&'static str> {
    let mut found = store.guest(name).map_err(Advice::from)?;
    let again = again(store, name);
    let mut artefact = Vec::new();
    found.artefact.read_to_end(&mut artefact)?;
    if Digest::of(&artefact) != found.record.artefact {
        let hint = format!(
            "find out who wrote to it; `{}` compiles it anew",
            store.command("rebuild", name)
        );
        let what = format!("the code of the guest `{name}` is not what was installed");
        bail!(Advice::new(what, &hint));
    }
    let source = checked_source(&found, &again)?;
    let compiled = of_source(&found, source)?;
    if compiled.artefact != artefact {
        let what = format!("the code of the guest `{name}` is not what its source compiles to");
        bail!(Advice::new(what, &again));
    }
    Ok(match found.record.signature {
        Some(_) => "the code is what the source compiles to, and the source is as it was signed",
        None => "the code is what the source compiles to",
    })
}

/// The source of a guest, as it was installed, with its signature.
pub fn checked_source(found: &Installed, again: &str) -> Result<(Vec<u8>, Option<String>)> {
    let name = &found.record.name;
    let source = found.file(SOURCE).map_err(Advice::from)?;
    let Some(source) = source.filter(|source| Digest::of(source) == found.record.source) else {
        let what = format!("the source of the guest `{name}` is not what was installed");
        bail!(Advice::new(what, again));
    };
    let Some(signature) = &found.record.signature else { return Ok((source, None)) };
    let text = found.file(SIGNATURE).map_err(Advice::from)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    still_verifies(&source, &text, signature)?;
    Ok((source, Some(text)))
}

/// The same guest, compiled now.
pub fn of_source(found: &Installed, source: (Vec<u8>, Option<String>)) -> Result<Parts> {
    let record = found.record.clone();
    let shown = format!("{}/{SOURCE}", record.name);
    compiled(record.name, source.0, &shown, record.signature, source.1, record.cpu)
}
