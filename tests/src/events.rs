//! What the decoder logs: events in JSON, one a line.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The events of a log.
pub fn parse(log: &str) -> Result<Vec<Value>> {
    let parse = |line| serde_json::from_str(line).with_context(|| format!("no event: {line}"));
    log.lines().map(parse).collect()
}

/// Those of a file.
pub fn read(log: &Path) -> Result<Vec<Value>> {
    parse(&fs::read_to_string(log)?)
}

/// The one event of a layer in a file.
pub fn of_layer(log: &Path) -> Result<Value> {
    let mut events = read(log)?;
    events.retain(|event| event["event"] == "layer");
    ensure!(events.len() == 1, "{} events of a layer: {events:#?}", events.len());
    Ok(events.remove(0))
}
