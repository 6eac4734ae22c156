//! What a name without a transport may have been meant for.

use std::path::Path;

use strsim::damerau_levenshtein;

use crate::archive::{self, Kind};
use crate::layout;
use crate::registry::Reference;

const TRANSPORTS: [&str; 3] = ["oci", "oci-archive", "docker-archive"];

/// A name with a transport that may be meant by one that has none: of what is there, of a transport that is
/// written almost so, or of an image in a registry.
pub fn instead_of(name: &str) -> Option<String> {
    let (before, rest) = name.split_once(':').unwrap_or((name, ""));
    if let Some(transport) = transport_of(Path::new(before)) {
        return Some(format!("{transport}:{name}"));
    }
    if is_archive_name(before) {
        return Some(format!("oci-archive:{name}"));
    }
    if matches!(before.to_ascii_lowercase().as_str(), "http" | "https" | "docker") {
        let reference = rest.trim_start_matches('/').trim_end_matches('/');
        return registry(reference);
    }
    if name.contains(':') && !rest.is_empty() {
        let spelt = before.to_ascii_lowercase().replace('_', "-");
        let near = |transport: &&str| damerau_levenshtein(transport, &spelt) <= transport.len() / 3;
        if let Some(transport) = TRANSPORTS.into_iter().find(near) {
            return Some(format!("{transport}:{rest}"));
        }
    }
    registry(name)
}

/// The transport of what is at this path.
fn transport_of(path: &Path) -> Option<&'static str> {
    if layout::is_layout(path) {
        return Some("oci");
    }
    match archive::kind(path)? {
        Kind::Oci => Some("oci-archive"),
        Kind::Docker => Some("docker-archive"),
    }
}

/// Whether a file of this name is an archive, also where there is none yet.
fn is_archive_name(file: &str) -> bool {
    let name = file.to_ascii_lowercase();
    [".tar", ".tgz", ".tar.gz"].iter().any(|ending| name.ends_with(ending) && name != *ending)
}

fn registry(reference: &str) -> Option<String> {
    Reference::parse(reference).ok().map(|_| format!("docker://{reference}"))
}
