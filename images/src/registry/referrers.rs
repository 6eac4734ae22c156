//! What refers to a manifest: cosign's tags, and the referrers of the OCI distribution specification 1.1.

use std::time::Duration;

use ureq::http::{Method, header};

use super::answer::Answer;
use super::client::{Client, Request};
use super::manifest;
use crate::documents::Index;
use crate::place::{MAX_DOCUMENT, parse};

/// The ends of cosign's tags: signatures, attestations and software bills of materials.
const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// How long a registry may take for each answer: it is asked for much that it need not have.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tags and the digests of what refers to the manifest with this digest. A registry that does not
/// answer has none.
pub fn of(client: &Client, digest: &str) -> Vec<String> {
    let tag = digest.replace(':', "-");
    let tags = SUFFIXES.iter().map(|suffix| format!("{tag}.{suffix}"));
    let there = tags.filter(|tag| has_tag(client, tag));
    let listed = listed(client, digest, &tag).unwrap_or_default();
    let listed = listed.manifests.iter().map(|entry| entry.digest().to_owned());
    there.chain(listed).collect()
}

fn has_tag(client: &Client, tag: &str) -> bool {
    let path = format!("manifests/{tag}");
    let head = ask(client, Method::HEAD, &path);
    // Some registries have no HEAD.
    let get = || ask(client, Method::GET, &path);
    let answer =
        head.and_then(|it| if matches!(it.status(), 405 | 501) { get() } else { Some(it) });
    answer.is_some_and(|answer| answer.is_success())
}

/// What a registry lists, or an index with the referrers tag where the registry does not.
fn listed(client: &Client, digest: &str, tag: &str) -> Option<Index> {
    let mut answer = ask(client, Method::GET, &format!("referrers/{digest}"))?;
    if answer.status() == 404 {
        answer = ask(client, Method::GET, &format!("manifests/{tag}"))?;
    }
    if !answer.is_success() {
        return None;
    }
    parse("the referrers", &answer.read(MAX_DOCUMENT).ok()?).ok()
}

/// Asks once.
fn ask(client: &Client, method: Method, path: &str) -> Option<Answer> {
    let patience = PATIENCE.min(client.patience());
    let request = Request::new(method, client.url(path).ok()?).patience(patience);
    client.send_once(&request.header(header::ACCEPT, manifest::ACCEPT)).ok()
}
