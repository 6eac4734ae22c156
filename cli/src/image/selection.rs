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

    /// Whether what an index lists is selected by its platform, or none if only its configuration
    /// tells.
    pub fn has_listed(&self, descriptor: &Descriptor) -> Option<bool> {
        if self.platforms.is_empty() {
            return Some(true);
        }
        descriptor.platform.as_ref().map(|platform| self.has(platform))
    }

    /// Whether the platform of a manifest is selected. The platform is that in the index, or else that
    /// in the configuration.
    ///
    /// # Errors
    /// A configuration that cannot be read.
    pub fn has_platform(
        &self,
        source: &dyn Source,
        descriptor: &Descriptor,
        manifest: &Manifest,
    ) -> Result<bool> {
        if let Some(known) = self.has_listed(descriptor) {
            return Ok(known);
        }
        let config = manifest.config.as_ref().context("the manifest has no configuration")?;
        Ok(self.has(&source.json_blob(config).context("the platform of the image")?))
    }

    fn has(&self, platform: &Platform) -> bool {
        let part = |member: &Option<String>| member.clone().unwrap_or_default();
        let short = format!("{}/{}", part(&platform.os), part(&platform.architecture));
        let long = format!("{short}/{}", part(&platform.variant));
        self.platforms.iter().any(|wanted| *wanted == short || *wanted == long)
    }
}

/// The platform of what an index lists, sanitized for a message.
pub fn platform(descriptor: &Descriptor) -> Option<String> {
    let platform = descriptor.platform.as_ref()?;
    let part = |member: &Option<String>| member.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut name = format!("{}/{}", part(&platform.os), part(&platform.architecture));
    if let Some(variant) = &platform.variant {
        name = format!("{name}/{variant}");
    }
    Some(shown(&name))
}
