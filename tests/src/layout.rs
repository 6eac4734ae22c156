//! An image for two platforms, made by hand, and what became of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::image::hex;

/// The media type of all layers.
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// The media type of the statements in an attestation.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Two layers for `linux/amd64` and one for `linux/arm64`, under the tag `demo`, and an attestation of the
/// first as BuildKit writes it.
pub fn make(root: &Path) -> Result<()> {
    let platform = |architecture: &str, layers: &[&str]| -> Result<Value> {
        let layers = layers.iter().map(|text| blob(root, TAR, plain(text)));
        manifest(root, "linux", architecture, layers.collect::<Result<_>>()?)
    };
    let amd64 = platform("amd64", &["one", "two"])?;
    let arm64 = platform("arm64", &["three"])?;
    let statement = blob(root, IN_TOTO, plain("attested"))?;
    let mut attestation = manifest(root, "unknown", "unknown", vec![statement])?;
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": amd64["digest"],
    });
    let index = index(root, vec![amd64, arm64, attestation])?;
    list(root, vec![named(index, "demo")])
}

/// A manifest, and its descriptor for an index.
pub fn manifest(root: &Path, os: &str, architecture: &str, layers: Vec<Value>) -> Result<Value> {
    let config = json!({ "os": os, "architecture": architecture });
    let config =
        blob(root, "application/vnd.oci.image.config.v1+json", config.to_string().into_bytes())?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let document = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers,
        "annotations": { "kept": "as it is" },
    });
    let mut descriptor = blob(root, kind, document.to_string().into_bytes())?;
    descriptor["platform"] = json!({ "os": os, "architecture": architecture });
    Ok(descriptor)
}

/// An index, and its descriptor.
pub fn index(root: &Path, manifests: Vec<Value>) -> Result<Value> {
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
    blob(root, kind, index.to_string().into_bytes())
}

/// The descriptor with a name in the list of a layout.
pub fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    descriptor
}

/// Makes a layout of its blobs, with this list of images.
pub fn list(root: &Path, entries: Vec<Value>) -> Result<()> {
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({ "schemaVersion": 2, "manifests": entries });
    Ok(fs::write(root.join("index.json"), index.to_string())?)
}

/// The bytes of the layer of this name: more than a buffer of them.
pub fn plain(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(700_000).collect()
}

/// Writes a blob, and returns its descriptor.
pub fn blob(root: &Path, media_type: &str, bytes: Vec<u8>) -> Result<Value> {
    let digest = hex(&Sha256::digest(&bytes));
    fs::create_dir_all(root.join("blobs/sha256"))?;
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
