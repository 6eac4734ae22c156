//! `keycell decrypt`: decrypts the layers of an image.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use keycell_images::documents::Descriptor;
use ocicrypt::annotation;
use ocicrypt::layer::PlainReader;
use ocicrypt::media_type::ENCRYPTED;
use ocicrypt::unwrap::Opened;

use crate::image::{
    Action, Copying, Decision, Exchange, Few, ImageError, Layers, Listed, Named, Report, Work,
    of_layer, unpacked,
};
use crate::keys::Keys;

/// The arguments of `keycell decrypt`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    copying: Copying,
    /// Private keys: a directory such as `ctd-decoder` has, or a file
    #[arg(long, value_name = "DIR|FILE", required = true)]
    keys: Vec<PathBuf>,
    /// Leave layers encrypted that cannot be decrypted and have this media type, or this number
    #[arg(long, value_name = "TYPE|NUMBER")]
    allow_encrypted: Vec<String>,
}

/// Decrypts the chosen layers of an image. Layers that are not encrypted are copied.
pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { copying, keys, allow_encrypted } = arguments;
    copying.run(allow_encrypted, Decryption { keys: Keys::read(&keys)? })
}

struct Decryption {
    keys: Keys,
}

const NO_KEYS: &str = "which has no wrapped key";
const NOT_SAID: &str = "which is not that of an encrypted layer, though it has wrapped keys";

impl Exchange for Decryption {
    type Ready = Box<Opened>;

    fn decide(&mut self, layer: &Descriptor) -> Result<Decision<Box<Opened>>> {
        let has_keys = !annotation::wrapped_keys(&layer.annotations()).is_empty();
        Ok(match (layer.media_type().ends_with(ENCRYPTED), has_keys) {
            (true, true) => match self.keys.unwrap(layer) {
                Ok(opened) => Decision::Exchange(Box::new(opened)),
                Err(error) => Decision::Fails(error),
            },
            (true, false) => Decision::Cannot(Some(NO_KEYS)),
            (false, true) => Decision::Cannot(Some(NOT_SAID)),
            (false, false) => Decision::Keep,
        })
    }

    fn refuse(&self, layers: Few<Named>) -> ImageError {
        ImageError::CannotDecrypt(layers)
    }

    fn nothing(&self) -> Option<ImageError> {
        Some(ImageError::NothingEncrypted)
    }

    fn media_type(&self, layer: &Descriptor, _opened: &Box<Opened>) -> String {
        let media_type = layer.media_type();
        media_type.strip_suffix(ENCRYPTED).unwrap_or(media_type).to_owned()
    }

    fn exchange(
        &self,
        layer: &Descriptor,
        opened: &Box<Opened>,
        work: &Work<'_>,
    ) -> Result<Descriptor> {
        let mut blob = work.write()?;
        let mut reader = PlainReader::new(work.read(layer)?, &opened.key);
        while let Some(chunk) = reader.next_chunk().map_err(of_layer)? {
            blob.write_all(&chunk).map_err(unpacked)?;
        }
        let kept = blob.keep()?;
        let mut plain = layer.without_encryption();
        plain.media_type = Some(self.media_type(layer, opened));
        kept.describe(&mut plain);
        Ok(plain)
    }

    fn text(&self, report: &Report, is_done: bool) -> String {
        let decrypted = if is_done { "decrypted" } else { "would decrypt" };
        let count = Layers(report.count(Action::Replaced));
        let rest = Listed("still encrypted", report.encrypted());
        format!("{decrypted} {count}\n{rest}")
    }
}
