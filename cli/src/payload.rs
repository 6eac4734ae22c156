//! `keycell payload`: writes what containerd passes on descriptor 3, to run a decoder by hand.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use keycell_images::layout::blob_path;
use keycell_images::name::Name;
use ocicrypt::payload;
use serde_json::json;

use crate::image::Registries;

/// The arguments of `keycell payload`.
#[derive(Args)]
pub struct Arguments {
    /// The image: `docker://NAME`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or
    /// `docker-archive:FILE[:NAME]`; a FILE of `-` is standard input
    image: String,
    /// Which layer, counted from 1
    #[arg(long, default_value_t = 1)]
    layer: usize,
    /// Where to write the payload
    #[arg(long)]
    output: PathBuf,
    #[command(flatten)]
    registries: Registries,
}

/// Writes the payload of a CRI pull for a layer. Returns the path of the encrypted layer in a layout, and
/// elsewhere its digest.
pub fn run(arguments: &Arguments) -> Result<String> {
    let Arguments { image, layer: number, output, registries } = arguments;
    let manifests = registries.open(image)?.manifests()?;
    let layers: Vec<_> =
        manifests.iter().filter_map(|it| it.manifest.as_ref()).flat_map(|it| &it.layers).collect();
    let layer = number.checked_sub(1).and_then(|index| layers.get(index));
    let count = layers.len();
    let layer = layer.with_context(|| format!("layer {number} is not one of the {count}"))?;
    let value = json!({ "DecryptConfig": { "Parameters": null }, "Descriptor": layer });
    let bytes = payload::encode(&serde_json::to_vec(&value)?);
    let shown = output.display();
    std::fs::write(output, bytes).with_context(|| format!("cannot write `{shown}`"))?;
    Ok(match Name::parse(image)? {
        Name::Layout { directory, .. } => {
            format!("{}\n", directory.join(blob_path(layer.digest())?).display())
        }
        _ => format!("{}\n", layer.digest()),
    })
}
