//! The one call that makes `ctr-enc` another program than `ctr`: containerd's diff service unpacks a layer, with
//! payloads for the decoder. Debian has no `ctr-enc`. Numbers as in `containerd.services.diff.v1`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Result;
use prost::Message;
use tonic::Request;

use crate::grpc::Client;
use crate::image;
use crate::payload::{Any, Payload};

/// The stream processors that `ctr-enc` has a payload for.
const PROCESSORS: [&str; 2] =
    ["io.containerd.ocicrypt.decoder.v1.tar", "io.containerd.ocicrypt.decoder.v1.tar.gzip"];

/// Unpacks a layer of the content store of the namespace `default` into a directory.
///
/// # Errors
///
/// What containerd says, which is what the decoder says if that fails.
pub fn apply(
    socket: &Path,
    layer: &image::Descriptor,
    payload: Option<&Payload>,
    into: &Path,
) -> Result<()> {
    let payloads = PROCESSORS.iter().filter_map(|id| Some(((*id).to_owned(), payload?.any())));
    let mut request = Request::new(ApplyRequest {
        diff: Some(Descriptor {
            media_type: layer.media_type.clone(),
            digest: layer.digest.clone(),
            size: i64::try_from(layer.size)?,
            annotations: layer.annotations.clone(),
        }),
        mounts: vec![Mount {
            kind: "bind".into(),
            source: into.display().to_string(),
            options: vec!["rbind".into(), "rw".into()],
        }],
        payloads: payloads.collect(),
    });
    request.metadata_mut().insert("containerd-namespace", "default".parse()?);
    let client = Client::at(socket)?;
    client.call::<_, ApplyResponse>("/containerd.services.diff.v1.Diff/Apply", request).map(drop)
}

#[derive(Clone, PartialEq, Message)]
struct ApplyRequest {
    #[prost(message, tag = "1")]
    diff: Option<Descriptor>,
    #[prost(message, repeated, tag = "2")]
    mounts: Vec<Mount>,
    #[prost(map = "string, message", tag = "3")]
    payloads: HashMap<String, Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ApplyResponse {}

#[derive(Clone, PartialEq, Message)]
struct Descriptor {
    #[prost(string, tag = "1")]
    media_type: String,
    #[prost(string, tag = "2")]
    digest: String,
    #[prost(int64, tag = "3")]
    size: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Mount {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, repeated, tag = "4")]
    options: Vec<String>,
}
