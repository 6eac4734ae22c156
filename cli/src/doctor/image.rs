//! `--image`: whether the keys open the layers of an image.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use keycell_images::digest;
use keycell_images::documents::{Descriptor, Document};
use keycell_images::layout::blob_path;
use keycell_images::name::Name;
use keycell_images::place::MAX_DEPTH;
use ocicrypt::annotation;

use crate::containerd::{Config, Route};
use crate::failure;
use crate::keys::Keys;

use super::report::{Report, Severity};
use super::{Node, store};

/// Tries the keys on every encrypted layer, as the decoder does, and decrypts no layer.
pub fn examine(
    name: &str,
    arguments: &Node,
    config: &Config,
    keys: &mut Keys,
    report: &mut Report,
) {
    let layers = match layers(name, arguments, config) {
        Ok(layers) => layers,
        Err(error) => {
            let own = match error.is::<NotInStore>() {
                true => ToolHint::ImageNotInStore,
                false => ToolHint::ImageNames,
            };
            let hints = failure::hints_of(&error);
            let hints = if hints.is_empty() { vec![own.into()] } else { hints };
            return report.add(Severity::Unknown, format!("{error:#}"), hints);
        }
    };
    let mut encrypted = 0;
    for (number, layer) in (1..).zip(&layers) {
        if annotation::wrapped_keys(&layer.annotations()).is_empty() {
            continue;
        }
        encrypted += 1;
        let digest = layer.digest().escape_debug();
        let media_type = layer.media_type();
        if config.route(media_type) == Route::None {
            let message = format!(
                "layer {number}, {digest}: no processor takes `{}`, so containerd calls no decoder and \
                 unpacks the ciphertext",
                media_type.escape_debug()
            );
            report.fails(message, ToolHint::NoProcessor);
        }
        match keys.unwrap(layer) {
            Ok(opened) => {
                let by = &opened.by;
                let print = by.fingerprint.iter().map(|print| format!(", {print}"));
                let print: String = print.collect();
                let by = format!("by `{}` ({}{print})", by.name, opened.scheme);
                match opened.is_authenticated {
                    true => report.fine(format!("layer {number}, {digest}: opened {by}")),
                    false => report.note(format!(
                        "layer {number}, {digest}: perhaps opened {by}: its wrapped key is not \
                         authenticated (CMS with CBC), and only the layer tells"
                    )),
                }
            }
            Err(error) => {
                let diagnostic = error.downcast_ref::<Diagnostic>();
                let hints = diagnostic.map(|one| one.hints.clone()).unwrap_or_default();
                let message = format!("layer {number}, {digest}: {error:#}");
                report.add(Severity::Failure, message, hints);
            }
        }
    }
    if encrypted == 0 {
        let name = name.escape_debug();
        report.note(format!("none of the {} layers of `{name}` is encrypted", layers.len()));
    }
}

/// An image that containerd does not have. It makes the record of an image only after unpacking, and
/// removes the content of a pull that failed within seconds.
#[derive(Debug, thiserror::Error)]
enum NotInStore {
    #[error("containerd knows no image `{name}` in the namespace `{namespace}`")]
    Name { name: String, namespace: String },
    #[error("there is no manifest `{0}` in the content store")]
    Digest(String),
}

/// The layers of an image that is named with its transport, or of one in containerd's store, or else in
/// the registry from which containerd would pull it.
fn layers(name: &str, arguments: &Node, config: &Config) -> Result<Vec<Descriptor>> {
    if Name::has_transport(name) {
        return from_elsewhere(name, arguments);
    }
    match from_store(name, arguments, config) {
        Err(error) if digest::hex(name).is_err() => {
            from_elsewhere(&format!("docker://{name}"), arguments)
                .with_context(|| format!("{error}, and the registry does not give it"))
        }
        result => result,
    }
}

fn from_elsewhere(name: &str, arguments: &Node) -> Result<Vec<Descriptor>> {
    let manifests = arguments.registries.open_on_node(name)?.manifests()?;
    let there = manifests.into_iter().filter_map(|one| one.manifest);
    Ok(there.flat_map(|manifest| manifest.layers).collect())
}

fn from_store(name: &str, arguments: &Node, config: &Config) -> Result<Vec<Descriptor>> {
    let is_digest = digest::hex(name).is_ok();
    let digest = if is_digest { name.to_owned() } else { digest_of(name, arguments, config)? };
    let mut layers = Vec::new();
    collect(&digest, config, 0, &mut layers)?;
    Ok(layers)
}

/// The digest of a name, from containerd's client: containerd keeps names in its own database.
fn digest_of(name: &str, arguments: &Node, config: &Config) -> Result<String> {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(&config.address).args(["--namespace", &arguments.namespace]);
    command.args(["images", "list", &format!("name=={name}")]).stdin(Stdio::null());
    let output =
        command.output().context("cannot start `ctr`, which knows the digest of a name")?;
    let list = String::from_utf8_lossy(&output.stdout);
    let words = list.lines().skip(1).find_map(|line| line.split_whitespace().nth(2));
    match words {
        Some(digest) if output.status.success() => Ok(digest.to_owned()),
        _ if output.status.success() => bail!(NotInStore::Name {
            name: name.escape_debug().to_string(),
            namespace: arguments.namespace.escape_debug().to_string(),
        }),
        _ => bail!("`ctr images list` fails: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// Collects the layers of all manifests in the store. Those of other platforms are not there.
fn collect(digest: &str, config: &Config, depth: usize, into: &mut Vec<Descriptor>) -> Result<()> {
    let path = blob_path(digest)?;
    let path = store::blobs(config).join(path.file_name().unwrap_or_default());
    let document = store::document::<Document>(&path);
    let document = document.ok_or_else(|| NotInStore::Digest(digest.to_owned()))?;
    match document {
        Document::Manifest(manifest) => into.extend(manifest.layers),
        Document::Index(index) if depth < MAX_DEPTH => {
            for entry in &index.manifests {
                let _ = collect(entry.digest(), config, depth + 1, into); // not pulled
            }
        }
        Document::Index(_) => {}
    }
    Ok(())
}
