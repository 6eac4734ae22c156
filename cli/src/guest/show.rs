//! `keycell guest list` and `keycell guest show`.

use anyhow::Result;
use clap::Args;
use keycell_guest_store::record::Record;
use keycell_guest_store::store::{EMBEDDED, Store};
use serde_json::{Value, json};

use super::StoreOption;
use super::install::Described;

#[derive(Args)]
pub struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOption,
}

#[derive(Args)]
pub struct Show {
    /// Which guest
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOption,
}

pub fn list(arguments: &List) -> Result<String> {
    let store = Store::open(&arguments.store.directory)?;
    let (mut default, mut records) = (None, Vec::new());
    if let Some(store) = &store {
        default = store.default_guest()?;
        // Of one that is not run: what the decoder would say.
        records.extend(store.names().into_iter().map(|name| (store.guest(&name), name)));
    }
    let default = default.unwrap_or_else(|| EMBEDDED.to_owned());
    if arguments.json {
        let guests = records.iter().map(|(found, name)| match found {
            Ok(found) => found.record.to_value(),
            Err(refusal) => json!({ "name": name, "error": refusal.to_string() }),
        });
        let guests = guests.collect::<Vec<Value>>();
        let all = json!({ "default": default, "guests": guests });
        return Ok(serde_json::to_string_pretty(&all)? + "\n");
    }
    let mut text = line(&default, EMBEDDED, "decoder  a part of `ctd-decoder`");
    for (found, name) in &records {
        let status = match found {
            Ok(found) => summary(&found.record),
            Err(refusal) => format!("unusable {refusal}"),
        };
        text += &line(&default, name, &status);
    }
    Ok(text)
}

pub fn show(arguments: &Show) -> Result<String> {
    let store = arguments.store.open()?;
    let record = store.find(&arguments.name)?.record;
    if arguments.json {
        return Ok(record.to_json());
    }
    Ok(Described(record).to_string())
}

fn line(default: &str, name: &str, status: &str) -> String {
    let mark = if name == default { "*" } else { " " };
    format!("{mark} {name:<20} {status}\n")
}

fn summary(record: &Record) -> String {
    let signed = if record.signature.is_some() { "signed" } else { "not signed" };
    format!(
        "{:<8} {} KiB, {signed}, {}",
        record.kind.to_string(),
        record.size.div_ceil(1024),
        record.source
    )
}
