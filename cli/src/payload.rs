//! `keycell payload`: writes what containerd passes on descriptor 3, to run a decoder by hand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ocicrypt::payload;
use serde_json::json;

use crate::layout::Image;

/// Writes the payload of a CRI pull for layer `number`, counted from 1. Returns the path of the
/// encrypted layer.
pub fn write(name: &str, number: usize, output: &Path) -> Result<PathBuf> {
    let image = Image::open(name)?;
    let layers = image.layers()?;
    let layer = number.checked_sub(1).and_then(|index| layers.get(index));
    let count = layers.len();
    let layer = layer.with_context(|| format!("layer {number} is not one of the {count}"))?;
    let value = json!({ "DecryptConfig": { "Parameters": null }, "Descriptor": layer });
    let bytes = payload::encode(&serde_json::to_vec(&value)?);
    let shown = output.display();
    std::fs::write(output, bytes).with_context(|| format!("cannot write `{shown}`"))?;
    image.blob(layer)
}
