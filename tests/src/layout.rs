//! An image for two platforms, made by hand, and what became of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::image::hex;

/// The media type of all layers.
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// Two layers for `linux/amd64` and one for `linux/arm64`, under the tag `demo`, and an attestation
/// that is none.
pub fn make(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("blobs/sha256"))?;
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let manifests = [("amd64", &["one", "two"][..], TAR), ("arm64", &["three"], TAR)];
    let attestation = [("unknown", &["attested"][..], "application/vnd.in-toto+json")];
    let manifests = manifests.iter().chain(&attestation).map(|(architecture, layers, kind)| {
        let layers = layers.iter().map(|text| blob(root, kind, plain(text)));
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let config = json!({ "os": "linux", "architecture": architecture });
        let config = config.to_string().into_bytes();
        let config = blob(root, "application/vnd.oci.image.config.v1+json", config)?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let document = json!({
            "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers,
            "annotations": { "kept": "as it is" },
        });
        let mut descriptor = blob(root, kind, document.to_string().into_bytes())?;
        descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        Ok(descriptor)
    });
    let manifests = manifests.collect::<Result<Vec<_>>>()?;
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
    let mut entry = blob(root, kind, index.to_string().into_bytes())?;
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "demo" });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    Ok(fs::write(root.join("index.json"), index.to_string())?)
}

/// The bytes of the layer of this name: more than a buffer of them.
pub fn plain(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(700_000).collect()
}

fn blob(root: &Path, media_type: &str, bytes: Vec<u8>) -> Result<Value> {
    let digest = hex(&Sha256::digest(&bytes));
    fs::write(root.join("blobs/sha256").join(&digest), &bytes)?;
    let digest = format!("sha256:{digest}");
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
}

/// All layers of the only image, in order. Every document on the way is what its descriptor says.
pub fn layers(root: &Path) -> Result<Vec<Value>> {
    let index: Value = serde_json::from_slice(&fs::read(root.join("index.json"))?)?;
    let mut layers = Vec::new();
    collect(root, &index, &mut layers)?;
    Ok(layers)
}

fn collect(root: &Path, document: &Value, layers: &mut Vec<Value>) -> Result<()> {
    for descriptor in document["manifests"].as_array().into_iter().flatten() {
        collect(root, &serde_json::from_slice(&read(root, descriptor)?)?, layers)?;
    }
    layers.extend(document["layers"].as_array().into_iter().flatten().cloned());
    Ok(())
}

/// The bytes of a blob, which are what its descriptor says.
pub fn read(root: &Path, descriptor: &Value) -> Result<Vec<u8>> {
    let bytes = fs::read(path(root, descriptor)?)?;
    let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
    anyhow::ensure!(descriptor["digest"] == *digest, "{descriptor} is {digest}");
    anyhow::ensure!(descriptor["size"] == bytes.len(), "{descriptor} has {}", bytes.len());
    Ok(bytes)
}

/// Where a blob lies.
pub fn path(root: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    Ok(root.join("blobs").join(digest.replace(':', "/")))
}

/// Every file, with its bytes.
pub fn state(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(state(&path)?);
        } else {
            files.push((path.clone(), fs::read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}
