//! `keycell keys`: which private keys lie in some files.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ocicrypt::keyring::KeyRing;

/// A line for each key, and one for each file that is none.
pub fn list(files: &[PathBuf]) -> Result<String> {
    let mut ring = KeyRing::new();
    for path in files {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
        ring.add_file(&shown, &bytes);
    }
    let mut text = String::new();
    for key in ring.keys() {
        writeln!(text, "{:<9} {} `{}`", key.key().kind(), key.key().fingerprint(), key.name())?;
    }
    for skipped in ring.skipped() {
        writeln!(text, "no key    {skipped}")?;
    }
    if ring.is_empty() {
        bail!("there is no private key in these files\n{}", text.trim_end());
    }
    Ok(text)
}
