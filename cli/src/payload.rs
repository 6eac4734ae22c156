//! `keycell payload`: writes what containerd passes on descriptor 3, to run a decoder by hand.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use keycell_images::documents::{Descriptor, Manifest};
use keycell_images::layout::blob_path;
use keycell_images::name::Name;
use keycell_images::place::Described;
use keycell_images::{Source, shown};
use ocicrypt::media_type::ENCRYPTED;
use ocicrypt::{annotation, payload};
use serde_json::json;

use crate::image::{Few, ImageError, Registries, platform};
use crate::output::tell;

/// The arguments of `keycell payload`.
#[derive(Args)]
pub struct Arguments {
    /// The image: `docker://NAME`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or
    /// `docker-archive:FILE[:NAME]`; a FILE of `-` is standard input
    image: String,
    /// Which layer, counted from 1
    #[arg(long, default_value_t = 1)]
    layer: usize,
    /// The platform, such as `linux/arm64`; the first one of the image by default
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Where to write the payload
    #[arg(long)]
    output: PathBuf,
    #[command(flatten)]
    registries: Registries,
}

/// Writes the payload of a CRI pull for a layer. Returns the path of the encrypted layer in a layout, and
/// elsewhere its digest.
pub fn run(arguments: &Arguments) -> Result<String> {
    let Arguments { image, layer: number, platform: wanted, output, registries } = arguments;
    let source = registries.open(image)?;
    let manifest = choose(&*source, wanted.as_deref())?;
    let layers = &manifest.layers;
    let layer = number.checked_sub(1).and_then(|index| layers.get(index));
    let count = layers.len();
    let layer = layer.with_context(|| format!("layer {number} is not one of the {count}"))?;
    let has_keys = !annotation::wrapped_keys(&layer.annotations()).is_empty();
    if !has_keys || !layer.media_type().ends_with(ENCRYPTED) {
        tell(format_args!("note: layer {number} is not encrypted\n"));
    }
    let value = json!({ "DecryptConfig": { "Parameters": null }, "Descriptor": layer });
    let bytes = payload::encode(&serde_json::to_vec(&value)?);
    let path = output.display();
    std::fs::write(output, bytes).with_context(|| format!("cannot write `{path}`"))?;
    Ok(match Name::parse(image)? {
        Name::Layout { directory, .. } => {
            format!("{}\n", directory.join(blob_path(layer.digest())?).display())
        }
        _ => format!("{}\n", layer.digest()),
    })
}

/// The manifest for this platform, or else the first one with layers. Which one of several that is, is told
/// on standard error.
fn choose(source: &dyn Source, wanted: Option<&str>) -> Result<Manifest> {
    let mut found = Vec::new();
    for Described { descriptor, manifest } in source.manifests()? {
        let Some(manifest) = manifest else { continue };
        let is_chosen = match wanted {
            Some(wanted) => is_for(wanted, source, &descriptor, &manifest)?,
            None => !manifest.layers.is_empty() && !descriptor.is_attestation(),
        };
        if is_chosen {
            found.push((descriptor, manifest));
        }
    }
    let others = found.len().saturating_sub(1);
    let first = found.into_iter().next();
    let (descriptor, manifest) = first.ok_or_else(|| match wanted {
        Some(wanted) => {
            ImageError::NothingChosen(Few::of(vec![format!("`--platform {}`", shown(wanted))]))
        }
        None => ImageError::NoLayer,
    })?;
    if others > 0 {
        let name = platform(&descriptor).unwrap_or_else(|| shown(descriptor.digest()));
        let plural = if others == 1 { "image" } else { "images" };
        tell(format_args!(
            "note: this is for `{name}`: `--platform` chooses among it and {others} other {plural}\n"
        ));
    }
    Ok(manifest)
}

/// Whether a manifest is for this platform, with or without its variant.
fn is_for(
    wanted: &str,
    source: &dyn Source,
    descriptor: &Descriptor,
    manifest: &Manifest,
) -> Result<bool> {
    let mut described = descriptor.clone();
    if let (None, Some(config)) = (&described.platform, &manifest.config) {
        described.platform = Some(source.json_blob(config).context("the platform of the image")?);
    }
    let name = platform(&described).unwrap_or_default();
    let rest = name.strip_prefix(wanted);
    Ok(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) && wanted.contains('/'))
}
