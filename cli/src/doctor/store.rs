//! containerd's content store: which encrypted layers its manifests name, and which keys open them.

use keycell_content_store::PlacesError;
use keycell_diagnostic::hint::ToolHint;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ocicrypt::annotation;
use ocicrypt::budget::{self, Budget};
use ocicrypt::text::printable;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::containerd::Config;
use crate::keys::Keys;
use keycell_images::documents::Descriptor;

use super::decoder::Decoder;
use super::report::Report;

/// Where the blobs are in a content store.
const BLOBS: &str = "blobs/sha256";

/// The most blobs that are examined, newest first.
const MAX_BLOBS: usize = 20_000;

/// A manifest of more bytes is not read: registries refuse those above 4 MiB.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// The most layers that keys are tried on. Each costs one private-key operation for each key.
const MAX_LAYERS: usize = 128;

/// The budget for all layers together: four times that of one layer, about 20 seconds.
const WORK: u64 = 4 * budget::LAYER;

/// Tries every key on the encrypted layers of the manifests in the stores that the decoder searches, or
/// else in the store of the configuration.
pub fn examine(config: &Config, decoder: &Decoder, keys: &mut Keys, report: &mut Report) {
    let mut stores = vec![config.content()];
    match &decoder.stores {
        Some(Ok(found)) => stores.clone_from(found),
        None | Some(Err(PlacesError::Off)) => {}
        Some(Err(error)) if decoder.is_keycell() => {
            let root = config.root.display().to_string();
            let message = format!("the decoder would find no payload by itself: {error}");
            report.warn(message, ToolHint::NameContentStore { root });
        }
        Some(Err(_)) => {}
    }
    for store in stores {
        examine_store(&store.join(BLOBS), keys, report);
    }
}

fn examine_store(directory: &Path, keys: &mut Keys, report: &mut Report) {
    let shown = directory.display();
    let found = match manifests(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return report.note(format!("there is no content store at `{shown}` yet"));
        }
        Err(error) => {
            let why = keycell_diagnostic::os_error(&error);
            return report
                .unknown(format!("cannot look into `{shown}`: {why}"), ToolHint::RunAsRoot);
        }
    };
    let mut layers: Vec<(&str, &Descriptor)> = Vec::new();
    for manifest in &found {
        for layer in &manifest.layers {
            // Two images may have the same layer, each for other recipients.
            if layers.len() < MAX_LAYERS
                && !annotation::wrapped_keys(&layer.annotations()).is_empty()
                && !layers.iter().any(|(_, known)| *known == layer)
            {
                layers.push((&manifest.digest, layer));
            }
        }
    }
    if layers.is_empty() {
        return report.note(format!("no image in `{shown}` has an encrypted layer"));
    }
    let mut useful = BTreeSet::new();
    let (mut closed, mut uncertain) = (Vec::new(), 0);
    let (mut budget, mut gave_up) = (Budget::new(WORK), false);
    for (manifest, layer) in &layers {
        let openers = keys.that_open(layer, &mut budget).unwrap_or_default();
        match (openers.certain.is_empty(), openers.possible.is_empty()) {
            (true, true) => closed.push(*manifest),
            (true, false) => uncertain += 1,
            (false, _) => {}
        }
        gave_up |= openers.gave_up;
        useful.extend(openers.certain);
        useful.extend(openers.possible);
    }
    let count = layers.len();
    let plural = if count == 1 { "layer" } else { "layers" };
    let opened = count - closed.len() - uncertain;
    if closed.len() == count && !gave_up {
        let message = format!("no key opens any of {count} encrypted {plural} in `{shown}`");
        report.fails(message, ToolHint::NoKeyOpens { manifest: closed[0].to_owned() });
    } else {
        report.fine(format!("{opened} of {count} encrypted {plural} in `{shown}` can be opened"));
    }
    if let ([manifest, ..], true) = (closed.as_slice(), closed.len() < count) {
        report.note(format!(
            "{} cannot: they are for other keys, or damaged; `keycell doctor --image {manifest}` \
             tells more",
            closed.len()
        ));
    }
    if uncertain > 0 {
        report.note(format!(
            "{uncertain} perhaps: their wrapped keys are not authenticated (CMS with CBC), and only \
             the layers tell"
        ));
    }
    if gave_up {
        return report.unknown(
            "too much work: not every key was tried on every layer",
            ToolHint::TooMuchWork,
        );
    }
    for name in keys.names() {
        if !useful.contains(&name) {
            report.note(format!("{name} opens none of them: if it was replaced, it can go"));
        }
    }
}

/// The blobs of the content store.
pub fn blobs(config: &Config) -> PathBuf {
    config.content().join(BLOBS)
}

/// A manifest of the store.
struct Found {
    digest: String,
    layers: Vec<Descriptor>,
}

/// The newest manifests. Members of a list that are not layers are passed over: the store has what anyone
/// made.
fn manifests(directory: &Path) -> std::io::Result<Vec<Found>> {
    let mut candidates: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(found) = entry.metadata() else { continue };
        if found.is_file() && found.len() <= MAX_MANIFEST {
            candidates.push((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
        }
    }
    candidates.sort_by(|a, b| b.cmp(a));
    candidates.truncate(MAX_BLOBS);
    let manifest = |path: &PathBuf| {
        let document = document::<Value>(path)?;
        let layers = document.get("layers")?.as_array()?;
        let layers = layers.iter().filter_map(|layer| serde_json::from_value(layer.clone()).ok());
        let digest = format!("sha256:{}", printable(&path.file_name()?.to_string_lossy()));
        Some(Found { digest, layers: layers.collect() })
    };
    Ok(candidates.iter().filter_map(|(_, path)| manifest(path)).collect())
}

/// The document in a file. The first byte shows whether the file is a JSON object.
pub fn document<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut file = File::open(path).ok()?;
    let mut bytes = vec![0];
    file.read_exact(&mut bytes).ok()?;
    if bytes != b"{" {
        return None;
    }
    file.take(MAX_MANIFEST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
