//! `keycell inspect`: lists the layers of an image, how their keys are wrapped, and for whom.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use keycell_images::documents::{Descriptor, Manifest};
use keycell_images::place::Described;
use keycell_images::shown;
use ocicrypt::annotation::{self, Scheme, WrappedKeys};
use ocicrypt::budget::Budget;
use ocicrypt::jwe::Jwe;
use ocicrypt::media_type::ENCRYPTED;
use ocicrypt::pgp::PgpMessage;
use ocicrypt::pkcs7::Envelope;
use ocicrypt::pkcs11;
use serde::Serialize;

use crate::image::{Registries, platform};
use crate::keys::Keys;

/// The arguments of `keycell inspect`.
#[derive(Args)]
pub struct Arguments {
    /// The image: `docker://NAME`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or
    /// `docker-archive:FILE[:NAME]`; a FILE of `-` is standard input
    image: String,
    /// Private keys, a directory such as `ctd-decoder` has or a file: tells which key opens which
    /// layer. Nothing is decrypted but the keys of the layers
    #[arg(long, value_name = "DIR|FILE")]
    keys: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registries: Registries,
}

/// Returns a line for each layer, and one for each of its recipients; or JSON.
pub fn run(arguments: &Arguments) -> Result<String> {
    let source = arguments.registries.open(&arguments.image)?;
    let mut keys = (!arguments.keys.is_empty()).then(|| Keys::read(&arguments.keys)).transpose()?;
    let each = source.manifests()?.into_iter().map(|one| Listed::of(one, keys.as_mut()));
    let image = Image {
        digest: source.entry().digest().to_owned(),
        manifests: each.collect::<Result<Vec<_>>>()?,
    };
    Ok(match arguments.json {
        true => serde_json::to_string(&image)? + "\n",
        false => image.to_string(),
    })
}

const NO_KEYS: &str = "its media type says that it is encrypted, and it has no wrapped key";
const NOT_SAID: &str = "not encrypted, though it has wrapped keys";

/// What there is to say of an image.
#[derive(Serialize)]
struct Image {
    digest: String,
    manifests: Vec<Listed>,
}

/// A manifest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    digest: String,
    /// The platform, if an index names it.
    platform: Option<String>,
    /// None where the place does not have the manifest.
    layers: Option<Vec<Layer>>,
    /// Why there are no layers, if the document is of another kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_layers: Option<String>,
}

/// A layer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    number: usize,
    media_type: Option<String>,
    digest: String,
    size: u64,
    encrypted: bool,
    /// What contradicts that.
    #[serde(skip_serializing_if = "Option::is_none")]
    contradiction: Option<&'static str>,
    wrapped_keys: Vec<Wrapped>,
    #[serde(flatten)]
    openers: Option<Opening>,
}

/// The wrapped keys of a scheme.
#[derive(Serialize)]
struct Wrapped {
    scheme: String,
    count: usize,
    recipients: Vec<String>,
}

/// The keys that open a layer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Opening {
    opened_by: Vec<String>,
    /// The wrapped key is not authenticated, and only the layer tells.
    perhaps_opened_by: Vec<String>,
    /// Whether not every key was tried on every wrapped key.
    gave_up: bool,
}

impl Listed {
    fn of(described: Described, mut keys: Option<&mut Keys>) -> Result<Self> {
        let Described { descriptor, manifest } = described;
        let reason = manifest.as_ref().and_then(Manifest::is_no_image);
        let no_layers = reason.map(|reason| reason.trim_start_matches(": ").to_owned());
        let layers = manifest.map(|manifest| {
            let numbered = (1..).zip(&manifest.layers);
            let each =
                numbered.map(|(number, layer)| Layer::of(number, layer, keys.as_deref_mut()));
            each.collect::<Result<Vec<_>>>()
        });
        let digest = descriptor.digest().to_owned();
        Ok(Self { digest, platform: platform(&descriptor), layers: layers.transpose()?, no_layers })
    }
}

impl Layer {
    fn of(number: usize, layer: &Descriptor, keys: Option<&mut Keys>) -> Result<Self> {
        let wrapped = annotation::wrapped_keys(&layer.annotations());
        let (encrypted, contradiction) =
            match (layer.media_type().ends_with(ENCRYPTED), !wrapped.is_empty()) {
                (true, true) => (true, None),
                (true, false) => (false, Some(NO_KEYS)),
                (false, true) => (false, Some(NOT_SAID)),
                (false, false) => (false, None),
            };
        let openers = match keys {
            Some(keys) if encrypted => {
                let openers = keys.that_open(layer, &mut Budget::default())?;
                Some(Opening {
                    opened_by: openers.certain,
                    perhaps_opened_by: openers.possible,
                    gave_up: openers.gave_up,
                })
            }
            _ => None,
        };
        let wrapped_keys = wrapped.iter().map(|keys| Wrapped {
            scheme: keys.scheme.to_string(),
            count: keys.len(),
            recipients: recipients(keys),
        });
        Ok(Self {
            number,
            media_type: layer.media_type.clone(),
            digest: layer.digest().to_owned(),
            size: layer.size(),
            encrypted,
            contradiction,
            wrapped_keys: wrapped_keys.collect(),
            openers,
        })
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Listed { digest, platform, layers, no_layers } in &self.manifests {
            let name = platform.clone().unwrap_or_else(|| shown(digest));
            match layers {
                None => writeln!(f, "{name}: not there")?,
                Some(layers) if layers.is_empty() => match no_layers {
                    Some(reason) => writeln!(f, "{name}: no layers: {reason}")?,
                    None => writeln!(f, "{name}: no layers")?,
                },
                Some(layers) => {
                    if self.manifests.len() > 1 {
                        writeln!(f, "{name}:")?;
                    }
                    layers.iter().try_for_each(|layer| layer.fmt(f))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let media_type = shown(self.media_type.as_deref().unwrap_or("of no media type"));
        write!(f, "layer {}: {media_type}, {} bytes, ", self.number, self.size)?;
        if let Some(contradiction) = self.contradiction {
            return writeln!(f, "{contradiction}");
        }
        if !self.encrypted {
            return writeln!(f, "not encrypted");
        }
        for (index, Wrapped { scheme, count, .. }) in self.wrapped_keys.iter().enumerate() {
            let before = if index == 0 { "encrypted: " } else { ", " };
            let plural = if *count == 1 { "wrapped key" } else { "wrapped keys" };
            write!(f, "{before}{count} {scheme} {plural}")?;
        }
        writeln!(f)?;
        for Wrapped { scheme, recipients, .. } in &self.wrapped_keys {
            for recipient in recipients.iter().take(LISTED) {
                writeln!(f, "  for {scheme}: {recipient}")?;
            }
            if recipients.len() > LISTED {
                writeln!(f, "  for {scheme}: and {} more", recipients.len() - LISTED)?;
            }
        }
        self.openers.iter().try_for_each(|openers| openers.fmt(f))
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opened_by, perhaps_opened_by, gave_up } = self;
        if opened_by.is_empty() && perhaps_opened_by.is_empty() {
            writeln!(f, "  no key of these opens it")?;
        }
        if !opened_by.is_empty() {
            writeln!(f, "  opened by {}", opened_by.join(", "))?;
        }
        if !perhaps_opened_by.is_empty() {
            writeln!(
                f,
                "  perhaps opened by {}: the wrapped key is not authenticated, and only the layer tells",
                perhaps_opened_by.join(", ")
            )?;
        }
        if *gave_up {
            writeln!(f, "  too much work: not every key was tried on every wrapped key")?;
        }
        Ok(())
    }
}

/// The most recipients of one layer that are listed.
const LISTED: usize = 64;

/// The recipients, as far as the format names them.
fn recipients(keys: &WrappedKeys) -> Vec<String> {
    let malformed = |error: String| vec![error];
    let of_item = |item: &[u8]| match keys.scheme {
        Scheme::Jwe => Jwe::parse(item)
            .map_or_else(|error| malformed(error.to_string()), |jwe| jwe.recipients()),
        Scheme::Pkcs7 => Envelope::parse(item)
            .map_or_else(|error| malformed(error.to_string()), |cms| cms.recipients()),
        Scheme::Pgp => PgpMessage::parse(item)
            .map_or_else(|error| malformed(error.to_string()), |message| message.recipients()),
        Scheme::Pkcs11 => pkcs11::parse(item).map_or_else(
            |error| malformed(error.to_string()),
            |blobs| blobs.iter().map(|blob| format!("RSA-{}", blob.bytes.len() * 8)).collect(),
        ),
        _ => vec!["whoever may use the key provider".to_owned()],
    };
    let found = keys.items.iter().flat_map(|(_, item)| of_item(item));
    found.chain(keys.not_base64.iter().map(|_| "malformed: not base64".to_owned())).collect()
}
