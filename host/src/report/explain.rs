//! The text for `--explain`: what each instance was granted.

use std::path::Path;

use keycell_core::CipherSide;
use keycell_core::contract::{KeyFile, Origin};
use keycell_core::limits::{self, Limits};
use keycell_walls::{State, Wall};

/// Where the guest finds private keys.
pub struct Keys<'a> {
    /// The directory that is granted.
    pub directory: Option<&'a Path>,
    /// Files that are passed as bytes.
    pub files: &'a [KeyFile],
}

/// The most names of files or tokens that are listed.
const LISTED: usize = 8;

/// The grants of the first instance.
pub fn unwrap(
    keys: &Keys<'_>,
    has_broker: bool,
    tokens: &[String],
    origin: &Origin,
    limits: &Limits,
) -> String {
    let keys = match (keys.directory, keys.files) {
        (Some(path), _) => format!("`{}` as `/keys`, read-only", path.display()),
        (None, []) => "none".to_owned(),
        (None, files) => list(files.iter().map(|file| file.name.as_str())) + ", as bytes",
    };
    let brokered = match tokens {
        [] => "key providers that are configured, by name".to_owned(),
        tokens => list(tokens.iter().map(String::as_str)) + " and key providers, by name",
    };
    let origin = match origin {
        Origin::Payload(payload) => {
            ("payload", true, format!("{} bytes from descriptor 3", payload.len()))
        }
        Origin::Stored(stored) => {
            let (manifests, bytes) = (stored.manifests.len(), stored.beginning.len());
            let what = "manifests in containerd's content store";
            (what, true, format!("{manifests}, with the layer's first {bytes} bytes"))
        }
    };
    table(
        "unwrap",
        &[
            origin,
            ("private keys", keys != "none", keys),
            ("random numbers", true, "for blinding".to_owned()),
            ("memory", true, format!("{} MiB", limits::MEMORY >> 20)),
            ("time", true, format!("{} seconds", limits.unwrap_seconds)),
            ("key providers, tokens", has_broker, brokered),
            ("encrypted layer", false, String::new()),
            ("plain layer", false, String::new()),
            ("cipher", false, String::new()),
            ("other files, network, environment, clock, processes", false, String::new()),
        ],
    )
}

/// The grants of the second instance.
pub fn decrypt(cipher: CipherSide, decompresses: bool) -> String {
    let lent = cipher == CipherSide::Host;
    let key = "the one that `unwrap` returned, without its HMAC and digest".to_owned();
    let checked = match decompresses {
        true => "decompressed, and not checked against the cipher",
        false => "checked against the cipher",
    };
    table(
        "decrypt",
        &[
            ("layer key", !lent, key),
            ("encrypted layer", true, "standard input".to_owned()),
            ("plain layer", true, format!("standard output, {checked}")),
            ("cipher", lent, "the host's, once".to_owned()),
            ("memory", true, format!("{} MiB", limits::MEMORY >> 20)),
            ("payload", false, String::new()),
            ("private keys", false, String::new()),
            ("key providers, tokens", false, String::new()),
            ("random numbers", false, String::new()),
            ("files, network, environment, clock, processes", false, String::new()),
        ],
    )
}

/// The grants of a command: one instance has what two instances have otherwise.
pub fn command(directory: Option<&Path>, payload: usize, limits: &Limits) -> String {
    let keys = directory.map(|path| format!("`{}` as `/keys`, read-only", path.display()));
    table(
        "command",
        &[
            ("payload", true, format!("{payload} bytes from descriptor 3")),
            ("private keys", keys.is_some(), keys.unwrap_or_default()),
            ("encrypted layer", true, "standard input, behind the payload".to_owned()),
            ("plain layer", true, "standard output, not checked by the host".to_owned()),
            ("random numbers", true, "for blinding".to_owned()),
            ("clock", true, "its own, which only it moves".to_owned()),
            ("memory", true, format!("{} MiB", limits::MEMORY >> 20)),
            ("time", true, format!("{} seconds without a byte moved", limits.stall_seconds)),
            ("key providers, tokens", false, String::new()),
            ("cipher", false, String::new()),
            ("other files, network, environment, processes", false, String::new()),
        ],
    )
}

/// The operating system's walls around a step.
pub fn walls(step: &str, walls: &[Wall]) -> String {
    let mut text = format!("walls around `{step}`\n");
    for Wall { name, state, .. } in walls {
        text += &match state {
            State::Up(how) => format!("  up       {name}: {how}\n"),
            State::Missing(why) => format!("  missing  {name}: {why}\n"),
        };
    }
    text
}

fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let names = names.take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}

fn table(step: &str, rows: &[(&str, bool, String)]) -> String {
    let mut text = format!("instance `{step}`\n");
    for (what, granted, how) in rows {
        let verdict = if *granted { "granted" } else { "denied " };
        let how = if *granted { format!(": {how}") } else { String::new() };
        text += &format!("  {verdict}  {what}{how}\n");
    }
    text
}
