//! `keycell inspect`: lists the layers of an image, how their keys are wrapped, and for whom.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ocicrypt::annotation::{self, Scheme, WrappedKeys};
use ocicrypt::budget::Budget;
use ocicrypt::jwe::Jwe;
use ocicrypt::pgp::PgpMessage;
use ocicrypt::pkcs7::Envelope;
use ocicrypt::pkcs11;

use crate::keys::Keys;
use crate::layout::{Described, Image};
use keycell_images::documents::Descriptor;

/// The arguments of `keycell inspect`.
#[derive(Args)]
pub struct Arguments {
    /// A directory with an OCI image layout; `oci:DIR` and `oci:DIR:TAG` as skopeo writes it
    image: String,
    /// Private keys, a directory such as `ctd-decoder` has or a file: tells which key opens which
    /// layer. Nothing is decrypted but the keys of the layers
    #[arg(long, value_name = "DIR|FILE")]
    keys: Vec<PathBuf>,
}

/// The most recipients of one layer that are listed.
const LISTED: usize = 64;

/// Returns a line for each layer, and one for each of its recipients.
pub fn run(arguments: &Arguments) -> Result<String> {
    let image = Image::open(&arguments.image)?;
    let mut keys = (!arguments.keys.is_empty()).then(|| Keys::read(&arguments.keys)).transpose()?;
    let manifests = image.manifests()?;
    let mut text = String::new();
    for Described { descriptor, manifest } in &manifests {
        if manifests.len() > 1 {
            writeln!(text, "{}", platform(descriptor))?;
        }
        for (number, layer) in (1..).zip(&manifest.layers) {
            text += &describe(number, layer, keys.as_mut())?;
        }
    }
    Ok(text)
}

fn platform(descriptor: &Descriptor) -> String {
    let platform = descriptor.platform.as_ref();
    let os = platform.and_then(|platform| platform.os.as_deref());
    let architecture = platform.and_then(|platform| platform.architecture.as_deref());
    let (os, architecture) = (os.unwrap_or("unknown"), architecture.unwrap_or("unknown"));
    format!("{os}/{architecture}:").escape_debug().to_string()
}

fn describe(number: usize, layer: &Descriptor, keys: Option<&mut Keys>) -> Result<String> {
    let media_type = layer.media_type.as_deref().unwrap_or("of no media type").escape_debug();
    let size = layer.size();
    let wrapped = annotation::wrapped_keys(&layer.annotations());
    let mut text = format!("layer {number}: {media_type}, {size} bytes, ");
    if wrapped.is_empty() {
        text += "not encrypted\n";
        return Ok(text);
    }
    let schemes = wrapped.iter().map(|keys| {
        let plural = if keys.len() == 1 { "wrapped key" } else { "wrapped keys" };
        format!("{} {} {plural}", keys.len(), keys.scheme)
    });
    writeln!(text, "encrypted: {}", schemes.collect::<Vec<_>>().join(", "))?;
    for keys in &wrapped {
        let recipients = recipients(keys);
        for recipient in recipients.iter().take(LISTED) {
            writeln!(text, "  for {}: {recipient}", keys.scheme)?;
        }
        if recipients.len() > LISTED {
            writeln!(text, "  for {}: and {} more", keys.scheme, recipients.len() - LISTED)?;
        }
    }
    if let Some(keys) = keys {
        let openers = keys.that_open(layer, &mut Budget::default())?;
        if openers.certain.is_empty() && openers.possible.is_empty() {
            writeln!(text, "  no key of these opens it")?;
        }
        if !openers.certain.is_empty() {
            writeln!(text, "  opened by {}", openers.certain.join(", "))?;
        }
        if !openers.possible.is_empty() {
            writeln!(
                text,
                "  perhaps opened by {}: the wrapped key is not authenticated, and only the layer tells",
                openers.possible.join(", ")
            )?;
        }
        if openers.gave_up {
            writeln!(text, "  too much work: not every key was tried on every wrapped key")?;
        }
    }
    Ok(text)
}

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
