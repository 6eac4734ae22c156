//! What each instance was granted, in words, for `--explain`.

use std::path::Path;

use crate::args::CipherSide;
use crate::contract::KeyFile;
use crate::limits::{self, Limits};

/// The grants of the first instance.
pub fn unwrap(
    directory: Option<&Path>,
    key_files: &[KeyFile],
    payload: usize,
    limits: &Limits,
) -> String {
    let keys = match (directory, key_files) {
        (Some(path), _) => format!("`{}` as `/keys`, read-only", path.display()),
        (None, []) => "none".to_owned(),
        (None, files) => {
            let names = files.iter().map(|file| format!("`{}`", file.name));
            names.collect::<Vec<_>>().join(", ") + ", as bytes"
        }
    };
    table(
        "unwrap",
        &[
            ("payload", true, format!("{payload} bytes from descriptor 3")),
            ("private keys", keys != "none", keys),
            ("random numbers", true, "for blinding".to_owned()),
            ("memory", true, format!("{} MiB", limits::MEMORY >> 20)),
            ("time", true, format!("{} seconds", limits.unwrap_seconds)),
            ("encrypted layer", false, String::new()),
            ("plain layer", false, String::new()),
            ("cipher", false, String::new()),
            ("other files, network, environment, clock, processes", false, String::new()),
        ],
    )
}

/// The grants of the second instance.
pub fn decrypt(cipher: CipherSide) -> String {
    let lent = cipher == CipherSide::Host;
    table(
        "decrypt",
        &[
            ("layer key", true, "the one that `unwrap` returned".to_owned()),
            ("encrypted layer", true, "standard input".to_owned()),
            ("plain layer", true, "standard output, checked against the cipher".to_owned()),
            ("cipher", lent, "the host's, once".to_owned()),
            ("memory", true, format!("{} MiB", limits::MEMORY >> 20)),
            ("payload", false, String::new()),
            ("private keys", false, String::new()),
            ("random numbers", false, String::new()),
            ("files, network, environment, clock, processes", false, String::new()),
        ],
    )
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
