//! Reads manifests and indexes (OCI distribution specification 1.1, section "Pulling manifests").

use serde::Deserialize;
use serde::de::IgnoredAny;
use ureq::http::{HeaderName, Method, header};

use super::answer::{About, Answer};
use super::client::{Client, Request};
use super::error::RegistryError;
use super::retry::Failures;
use crate::digest;
use crate::documents::Descriptor;
use crate::error::{Error, Result};
use crate::place::MAX_DOCUMENT;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What manifests and indexes there are. Registries convert or refuse what is not in this list.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.artifact.manifest.v1+json";

/// The header in which a registry says which digest it sends.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest or an index.
pub struct Document {
    /// What it is.
    pub descriptor: Descriptor,
    /// The document itself.
    pub bytes: Vec<u8>,
}

/// Reads the manifest or index with this tag or digest.
///
/// # Errors
/// A registry that has none, or sends another than was asked for.
pub fn read(client: &Client, version: &str) -> Result<Document> {
    let mut failures = Failures::default();
    let (content_type, announced, bytes) = loop {
        let answer = begin(client, version, &mut failures)?;
        let content_type = content_type(&answer);
        let announced = announced(&answer);
        match answer.read(MAX_DOCUMENT) {
            Err(error) if client.may_pass(&error) && failures.wait(client.host(), None) => {}
            read => break (content_type, announced, read?),
        }
    };
    let found = digest::of(&bytes);
    let wanted = if version.contains(':') { Some(version.to_owned()) } else { announced };
    if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
        return Err(Error::Altered { wanted: wanted.escape_debug().to_string(), found });
    }
    let mut descriptor = Descriptor::default();
    descriptor.media_type = Some(media_type(&bytes, &content_type)).filter(|it| !it.is_empty());
    descriptor.digest = Some(found);
    descriptor.size = Some(bytes.len() as u64);
    Ok(Document { descriptor, bytes })
}

/// Asks for a manifest or an index, and begins to read it.
fn begin(client: &Client, version: &str, failures: &mut Failures) -> Result<Answer, RegistryError> {
    let answer = ask(client, Method::GET, version, failures)?;
    if !answer.is_success() {
        return Err(answer.refuse(&client.repository, About::Manifest(version)));
    }
    if content_type(&answer) == "text/html" {
        let (host, status) = (answer.url().authority().to_owned(), answer.status());
        return Err(RegistryError::WebPage { host, status });
    }
    Ok(answer)
}

fn content_type(answer: &Answer) -> String {
    let content_type = answer.header(header::CONTENT_TYPE).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().to_owned()
}

/// The members that tell what a document is.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kind {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

/// What a document is: as itself says, or else the registry, or else by its members. Registries keep
/// documents of which they know nothing, and send them as `text/plain` or with no type at all.
pub fn media_type(bytes: &[u8], content_type: &str) -> String {
    let Kind { media_type, manifests, layers } = serde_json::from_slice(bytes).unwrap_or_default();
    match media_type.filter(|it| !it.is_empty()) {
        Some(media_type) => media_type,
        None if ACCEPT.split(", ").any(|it| it == content_type) => content_type.to_owned(),
        None if manifests.is_some() => INDEX.to_owned(),
        None if layers.is_some() => MANIFEST.to_owned(),
        None => content_type.to_owned(),
    }
}

/// Whether there is a manifest or an index with this tag or digest.
///
/// # Errors
/// A registry that does not say so.
pub fn exists(client: &Client, version: &str) -> Result<bool, RegistryError> {
    let mut failures = Failures::default();
    let mut answer = ask(client, Method::HEAD, version, &mut failures)?;
    // Some registries have no HEAD.
    if matches!(answer.status(), 405 | 501) {
        answer = ask(client, Method::GET, version, &mut failures)?;
    }
    match answer.status() {
        200..=299 => Ok(true),
        404 => Ok(false),
        _ => Err(answer.refuse(&client.repository, About::Manifest(version))),
    }
}

fn ask(
    client: &Client,
    method: Method,
    version: &str,
    failures: &mut Failures,
) -> Result<Answer, RegistryError> {
    let url = client.url(&format!("manifests/{version}"))?;
    let request = Request::new(method, url).header(header::ACCEPT, ACCEPT);
    client.send_again(&request, failures)
}

/// The digest that the registry says it sends, if it is one that can be checked.
fn announced(answer: &Answer) -> Option<String> {
    let digest = answer.header(CONTENT_DIGEST)?;
    digest::hex(digest).is_ok().then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_it_is() {
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        for (document, content_type, kind) in [
            (r#"{"mediaType": "m", "manifests": []}"#, docker, "m"),
            (r#"{"manifests": []}"#, docker, docker),
            (r#"{"manifests": []}"#, "text/plain", INDEX),
            (r#"{"config": {}, "layers": []}"#, "", MANIFEST),
            (r#"{"mediaType": "", "layers": []}"#, "application/json", MANIFEST),
            (r#"{"fsLayers": []}"#, "application/old", "application/old"),
            ("no JSON", "application/x", "application/x"),
        ] {
            assert_eq!(media_type(document.as_bytes(), content_type), kind, "{document}");
        }
    }
}
