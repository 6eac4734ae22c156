//! The layers of an image that the command line selects.

use anyhow::{Context, Result};
use clap::Args;
use keycell_images::documents::{Descriptor, Manifest, Platform};
use keycell_images::{Source, shown};

/// Selects layers by number and by platform; without either, all layers.
#[derive(Args, Default)]
pub struct Selection {
    /// Only this layer, counted from 1, and those named likewise; of every platform
    #[arg(long = "layer", value_name = "NUMBER")]
    layers: Vec<usize>,
    /// Only the layers for this platform, such as `linux/arm64`, and those named likewise
    #[arg(long = "platform", value_name = "OS/ARCH")]
    platforms: Vec<String>,
}

impl Selection {
    /// Whether the layer number is selected. The platform is checked separately.
    pub fn has_layer(&self, number: usize) -> bool {
        self.layers.is_empty() || self.layers.contains(&number)
    }

    /// Whether a manifest is selected whose platform has this name. Without a choice, all are.
    pub fn has_platform(&self, name: Option<&str>) -> bool {
        let is_it = |wanted: &String| name.is_some_and(|name| is(name, wanted));
        self.platforms.is_empty() || self.platforms.iter().any(is_it)
    }

    /// The choices that fit nothing: platforms that none of `names` is, and numbers that are greater than
    /// `most`.
    pub fn unmet(&self, names: &[String], most: usize) -> Vec<String> {
        let unmet = |wanted: &&String| !names.iter().any(|name| is(name, wanted));
        let platforms = self.platforms.iter().filter(unmet);
        let numbers = self.layers.iter().filter(|number| **number == 0 || **number > most);
        let platforms = platforms.map(|wanted| format!("`--platform {}`", shown(wanted)));
        platforms.chain(numbers.map(|number| format!("`--layer {number}`"))).collect()
    }

    /// Whether platforms are selected by their names.
    pub fn names_platforms(&self) -> bool {
        !self.platforms.is_empty()
    }
}

/// Whether the platform with this name is the wanted one, which may be without its variant.
fn is(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The name of the platform of a manifest, such as `linux/arm64`: that in the index, or else that in the
/// configuration. A manifest without either, such as an artifact, has none.
///
/// # Errors
/// A configuration that cannot be read.
pub fn platform_of(
    source: &dyn Source,
    descriptor: &Descriptor,
    manifest: &Manifest,
) -> Result<Option<String>> {
    if let Some(platform) = &descriptor.platform {
        return Ok(Some(name(platform)));
    }
    let config = manifest.config.as_ref().filter(|config| is_of_image(config.media_type()));
    let Some(config) = config else { return Ok(None) };
    Ok(Some(name(&source.json_blob(config).context("the platform of the image")?)))
}

/// Whether a configuration is that of an image, which has a platform.
fn is_of_image(media_type: &str) -> bool {
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"]
        .contains(&media_type)
}

/// The platform of what an index lists, sanitized for a message.
pub fn platform(descriptor: &Descriptor) -> Option<String> {
    Some(shown(&name(descriptor.platform.as_ref()?)))
}

fn name(platform: &Platform) -> String {
    let part = |member: &Option<String>| member.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut name = format!("{}/{}", part(&platform.os), part(&platform.architecture));
    if let Some(variant) = &platform.variant {
        name = format!("{name}/{variant}");
    }
    name
}
