//! `keycell inspect`: the layers of an image and how their keys are wrapped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use ocicrypt::annotation;
use serde_json::Value;

use crate::layout::Image;

/// A line for each layer.
pub fn print(name: &str) -> Result<String> {
    let image = Image::open(name)?;
    let mut text = String::new();
    for (number, layer) in (1..).zip(&image.layers) {
        let media_type = layer["mediaType"].as_str().unwrap_or("of no media type");
        let size = layer["size"].as_u64().unwrap_or(0);
        writeln!(text, "layer {number}: {media_type}, {size} bytes, {}", wrapping(layer))?;
    }
    Ok(text)
}

fn wrapping(layer: &Value) -> String {
    let annotations = layer["annotations"].as_object().into_iter().flatten();
    let annotations: BTreeMap<String, String> = annotations
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let schemes = annotation::wrapped_keys(&annotations);
    let schemes = schemes.iter().map(|keys| {
        let plural = if keys.len() == 1 { "recipient" } else { "recipients" };
        format!("{} {} {plural}", keys.len(), keys.scheme)
    });
    match schemes.collect::<Vec<_>>() {
        none if none.is_empty() => "not encrypted".to_owned(),
        schemes => format!("encrypted for {}", schemes.join(", ")),
    }
}
