//! Which layers of an image are meant.

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::layout::{Image, members};

/// Layers by number and by platform; all of them if none is named.
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
    /// Whether the layer of this number is chosen, where its platform is.
    pub fn has_layer(&self, number: usize) -> bool {
        self.layers.is_empty() || self.layers.contains(&number)
    }

    /// Whether the platform of a manifest is chosen. An index says it, else the configuration.
    ///
    /// # Errors
    /// A configuration that cannot be read.
    pub fn has_platform(
        &self,
        image: &Image,
        descriptor: &Value,
        manifest: &Value,
    ) -> Result<bool> {
        if self.platforms.is_empty() {
            return Ok(true);
        }
        let platform = match &descriptor["platform"] {
            Value::Null => image.document(&manifest["config"]).context("its platform")?,
            platform => platform.clone(),
        };
        let part = |name: &str| platform[name].as_str().unwrap_or_default().to_owned();
        let short = format!("{}/{}", part("os"), part("architecture"));
        let long = format!("{short}/{}", part("variant"));
        Ok(self.platforms.iter().any(|wanted| *wanted == short || *wanted == long))
    }

    /// The bytes of all chosen layers.
    ///
    /// # Errors
    /// Where no layer is chosen: the platform is misspelt, or the number too high.
    pub fn bytes(&self, image: &Image) -> Result<u64> {
        let (mut bytes, mut count) = (0, 0);
        for manifest in image.manifests()? {
            if self.has_platform(image, &manifest.descriptor, &manifest.document)? {
                for (number, layer) in (1..).zip(members(&manifest.document, "layers")) {
                    if self.has_layer(number) {
                        bytes += layer["size"].as_u64().unwrap_or(0);
                        count += 1;
                    }
                }
            }
        }
        ensure!(count > 0, "no layer is chosen: `keycell inspect` lists what there is");
        Ok(bytes)
    }
}
