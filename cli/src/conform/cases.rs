//! Where case files come from.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use miniz_oxide::inflate::decompress_to_vec;

use super::case::{Case, Family};

/// Names and contents of the case files, packed by `build.rs`.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// A case, and the family that has its files.
pub struct Chosen<'a> {
    /// Where its files are.
    pub family: &'a Family,
    /// The case.
    pub case: &'a Case,
}

/// Those that this program holds.
///
/// # Errors
/// None, unless the build was broken.
pub fn embedded() -> Result<Vec<Family>> {
    let parsed = EMBEDDED.iter().map(|(name, packed)| {
        let json = unpacked(packed)?;
        let family = parse(&json).with_context(|| format!("the cases `{name}` of this program"))?;
        Ok(Family { is_trusted: true, ..family })
    });
    parsed.collect()
}

fn unpacked(packed: &[u8]) -> Result<Vec<u8>> {
    decompress_to_vec(packed).ok().context("a file of cases is not packed as it should be")
}

/// Whether this program holds this very file.
fn is_embedded(json: &[u8]) -> bool {
    EMBEDDED.iter().any(|(_, packed)| unpacked(packed).is_ok_and(|own| own == json))
}

/// Those of a file, or of the `.json` files of a directory.
///
/// # Errors
/// What cannot be read, and where it is malformed.
pub fn read(path: &Path) -> Result<Vec<Family>> {
    let shown = path.display();
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("cannot read `{shown}`"))? {
            let file = entry.with_context(|| format!("cannot read `{shown}`"))?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                files.push(file);
            }
        }
        files.sort();
    } else {
        files.push(path.to_path_buf());
    }
    if files.is_empty() {
        bail!("`{shown}` holds no `.json` file with cases");
    }
    let read = |file: &std::path::PathBuf| {
        let json = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let family = parse(&json);
        let family = family.with_context(|| format!("`{}` is no file of cases", file.display()))?;
        Ok(Family { is_trusted: is_embedded(&json), ..family })
    };
    files.iter().map(read).collect()
}

fn parse(json: &[u8]) -> Result<Family> {
    Ok(serde_json::from_slice(json)?)
}

/// Whether the cases may be run: each within its own directory, and those that choose what a target is
/// told only where their file is trusted.
///
/// # Errors
/// The first case that may not.
pub fn check(chosen: &[Chosen<'_>]) -> Result<()> {
    for Chosen { family, case } in chosen {
        case.check()?;
        if case.call.is_code() && !family.is_trusted {
            let name = case.name.escape_debug();
            let message =
                format!("the case `{name}` has `args`, `env` or `around`, and is not Keycell's");
            return Err(Diagnostic::new(message, ToolHint::UntrustedCases).into());
        }
    }
    Ok(())
}

/// Those whose names contain one of the words, or all.
pub fn choose<'a>(families: &'a [Family], words: &[String]) -> Vec<Chosen<'a>> {
    let chosen =
        |case: &Case| words.is_empty() || words.iter().any(|word| case.name.contains(word));
    let each = |family: &'a Family| family.cases.iter().map(move |case| Chosen { family, case });
    families.iter().flat_map(each).filter(|each| chosen(each.case)).collect()
}
