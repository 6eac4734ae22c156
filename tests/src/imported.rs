//! Images of one layer, as archives of OCI layouts for `ctr images import`.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::archive::tar;
use crate::image::{Descriptor, hex};
use crate::store::manifest;

/// An archive with an image of one layer.
///
/// `name` is what containerd calls the image, `layer` describes the layer but for its digest and its size,
/// `blob` is the layer as it is stored, and `plain` the tar archive that is to come out of it.
pub fn image(name: &str, layer: Descriptor, blob: Vec<u8>, plain: &[u8]) -> Vec<u8> {
    let layer = Descriptor { digest: digest(&blob), size: blob.len() as u64, ..layer };
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(plain)] },
    });
    let config = config.to_string().into_bytes();
    let mut manifest = manifest(&[layer]);
    manifest["config"]["digest"] = digest(&config).into();
    manifest["config"]["size"] = config.len().into();
    let manifest = manifest.to_string().into_bytes();
    let index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(&manifest), "size": manifest.len(),
        "annotations": { "io.containerd.image.name": name },
    }] });
    let path = |blob: &[u8]| format!("blobs/{}", digest(blob).replace(':', "/"));
    let files = [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.to_string().into_bytes()),
        (path(&blob), blob),
        (path(&config), config),
        (path(&manifest), manifest),
    ];
    tar(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}
