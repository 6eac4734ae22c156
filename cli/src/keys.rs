//! `keycell keys`: which private keys lie in some files.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ocicrypt::keyring::{KeyRing, PASSWORD_SUFFIXES};

/// A line for each key, and one for each file that is none. Passwords that lie beside the files
/// open those that are encrypted.
pub fn list(files: &[PathBuf]) -> Result<String> {
    let mut ring = KeyRing::new();
    for path in files {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
        ring.add_file(&shown, &bytes);
        for suffix in PASSWORD_SUFFIXES {
            let mut beside = path.clone().into_os_string();
            beside.push(suffix);
            if let Ok(password) = std::fs::read(beside) {
                ring.add_file(&format!("{shown}{suffix}"), &password);
            }
        }
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
