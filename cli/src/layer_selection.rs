//! The layers of an image that the command line selects.

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::layout::{Described, Image};
use keycell_images::documents::{Descriptor, Manifest, Platform};

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

    /// Whether the platform of a manifest is selected. The platform is that in the index, or else that
    /// in the configuration.
    ///
    /// # Errors
    /// A configuration that cannot be read.
    pub fn has_platform(
        &self,
        image: &Image,
        descriptor: &Descriptor,
        manifest: &Manifest,
    ) -> Result<bool> {
        if self.platforms.is_empty() {
            return Ok(true);
        }
        let config = || {
            let config = manifest.config.as_ref().context("the manifest has no configuration")?;
            image.document(config)
        };
        let platform: Platform = match &descriptor.platform {
            Some(platform) => platform.clone(),
            None => config().context("its platform")?,
        };
        let part = |member: Option<String>| member.unwrap_or_default();
        let short = format!("{}/{}", part(platform.os), part(platform.architecture));
        let long = format!("{short}/{}", part(platform.variant));
        Ok(self.platforms.iter().any(|wanted| *wanted == short || *wanted == long))
    }

    /// The total size of all selected layers, in bytes.
    ///
    /// # Errors
    /// No layer is selected: the platform is misspelt, or the number is too high.
    pub fn bytes(&self, image: &Image) -> Result<u64> {
        let (mut bytes, mut count) = (0, 0);
        for Described { descriptor, manifest } in image.manifests()? {
            if self.has_platform(image, &descriptor, &manifest)? {
                for (number, layer) in (1..).zip(&manifest.layers) {
                    if self.has_layer(number) {
                        bytes += layer.size();
                        count += 1;
                    }
                }
            }
        }
        ensure!(count > 0, "no layer is chosen: `keycell inspect` lists what there is");
        Ok(bytes)
    }
}
