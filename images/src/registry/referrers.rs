//! What refers to a manifest: cosign's tags, and the referrers of the OCI distribution specification 1.1.

use ureq::http::Method;

use super::client::{Client, Request};
use super::manifest;
use crate::documents::Index;
use crate::place::{MAX_DOCUMENT, parse};

/// The ends of cosign's tags: signatures, attestations and software bills of materials.
const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// The tags and the digests of what refers to the manifest with this digest. A registry that does not
/// answer has none.
pub fn of(client: &Client, digest: &str) -> Vec<String> {
    let tag = digest.replace(':', "-");
    let tags = SUFFIXES.iter().map(|suffix| format!("{tag}.{suffix}"));
    let there = tags.filter(|tag| manifest::exists(client, tag).unwrap_or_default());
    let listed = listed(client, digest).unwrap_or_default();
    let listed = listed.manifests.iter().map(|entry| entry.digest().to_owned());
    there.chain(listed).collect()
}

fn listed(client: &Client, digest: &str) -> Option<Index> {
    let url = client.url(&format!("referrers/{digest}")).ok()?;
    let answer = client.send(&Request::new(Method::GET, url)).ok()?;
    if !answer.is_success() {
        return None;
    }
    parse("the referrers", &answer.read(MAX_DOCUMENT).ok()?).ok()
}
