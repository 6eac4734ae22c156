//! `keycell decrypt`: decrypts the layers of an image.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ocicrypt::layer::PlainReader;
use ocicrypt::media_type;

use crate::keys::Keys;
use crate::layer_selection::Selection;
use crate::layout::{Image, Name};
use crate::layout_writer::Target;
use crate::rewrite::{Exchange, Layers, Source, rewrite};
use keycell_images::documents::Descriptor;

/// The arguments of `keycell decrypt`.
#[derive(Args)]
pub struct Arguments {
    /// A directory with an OCI image layout; `oci:DIR` and `oci:DIR:TAG` as skopeo writes it
    source: String,
    /// Where the plain image goes, named likewise; a layout that is there keeps its other images
    destination: String,
    /// Private keys: a directory such as `ctd-decoder` has, or a file
    #[arg(long, value_name = "DIR|FILE", required = true)]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    selection: Selection,
}

/// Decrypts the chosen layers of an image. Layers that are not encrypted are copied.
pub fn run(arguments: Arguments) -> Result<Outcome> {
    let mut decryption = Decryption { keys: Keys::read(&arguments.keys)? };
    let image = Image::open(&arguments.source)?;
    let destination = Name::parse(&arguments.destination);
    let target = Target::open(&destination.root)?;
    let (entry, count) = rewrite(&image, &target, &arguments.selection, &mut decryption)?;
    ensure!(count > 0, "no layer of this image is encrypted: `keycell inspect` lists them");
    target.publish(entry, destination.tag.as_deref())?;
    Ok(Outcome { layers: count })
}

/// What was decrypted.
pub struct Outcome {
    layers: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "decrypted {}", Layers(self.layers))
    }
}

struct Decryption {
    keys: Keys,
}

impl Exchange for Decryption {
    fn layer(&mut self, layer: &Descriptor, source: Source<'_>) -> Result<Option<Descriptor>> {
        let encrypted = layer.media_type();
        let Ok(plain) = media_type::plain(encrypted) else { return Ok(None) };
        let key = self.keys.open(layer)?;
        let mut blob = source.target.blob()?;
        let mut reader = PlainReader::new(source.read(layer)?, &key);
        while let Some(chunk) = reader.next_chunk()? {
            blob.write_all(&chunk)?;
        }
        let kept = blob.keep().context("the plain layer")?;
        let mut layer = layer.without_encryption();
        layer.media_type = Some(plain.to_owned());
        kept.describe(&mut layer);
        Ok(Some(layer))
    }
}
