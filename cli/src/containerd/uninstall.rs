//! Uninstalls the configuration, and leaves everything else as it was before.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::generated::{beside, templates};
use super::install::{BASE, BEGUN, DROP_IN, MADE, OURS, drop_ins, pattern, without_part};
use super::transaction::{backup, replace};
use super::{Change, Config, imports};

/// Uninstalls what [`install`](super::install()) installed. Returns the changes.
///
/// # Errors
/// A file that cannot be changed.
pub fn remove(config: &Path) -> Result<Vec<Change>> {
    let mut directories = vec![beside(config, "conf.d"), beside(config, "containerd.d")];
    directories.extend(Config::read(config, None).ok().as_ref().and_then(drop_ins));
    let mut done = Vec::new();
    for file in templates(config) {
        edit(
            &file,
            |text| without_part(text).0,
            |rest| rest.strip_prefix(BEGUN) == Some(BASE),
            &mut done,
        )?;
    }
    let without_imports = |text: &str| {
        let patterns = directories.iter().map(|directory| pattern(directory));
        patterns.fold(text.to_owned(), |text, pattern| imports::without(&text, &pattern))
    };
    let is_begun = |rest: &str| {
        let rest = rest.strip_prefix(BEGUN);
        let rest = rest.map(|rest| rest.strip_prefix(MADE).unwrap_or(rest));
        rest.is_some_and(|rest| rest.starts_with("version = ") && rest.lines().count() == 1)
    };
    edit(config, without_imports, is_begun, &mut done)?;
    directories.dedup();
    for directory in directories {
        let file = directory.join(DROP_IN);
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if text.starts_with(OURS) {
            delete(&file, &text, &mut done)?;
        }
    }
    Ok(done)
}

/// Takes our lines out of a file; one that has nothing else is removed.
fn edit(
    file: &Path,
    without: impl Fn(&str) -> String,
    is_begun: impl Fn(&str) -> bool,
    done: &mut Vec<Change>,
) -> Result<()> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(()) };
    let rest = without(&text);
    if rest == text {
        return Ok(());
    }
    if is_begun(&rest) {
        return delete(file, &text, done);
    }
    let copy = backup(file);
    let former = fs::read(&copy).ok();
    // A last line without its end got one when our part was added.
    let is_former = |former: &Vec<u8>| rest.strip_suffix('\n').map(str::as_bytes) == Some(former);
    let rest = former.filter(is_former).unwrap_or_else(|| rest.into_bytes());
    replace(file, &rest).with_context(|| format!("cannot write `{}`", file.display()))?;
    done.push(Change::LinesRemoved(file.to_owned()));
    if copy.exists() {
        unlink(&copy, done)?;
    }
    Ok(())
}

/// Removes a file of ours, and its directory if that was made for it and has nothing else.
fn delete(file: &Path, text: &str, done: &mut Vec<Change>) -> Result<()> {
    unlink(file, done)?;
    let directory = file.parent().filter(|_| text.contains(MADE));
    // It has something else if this fails.
    if let Some(directory) = directory.filter(|directory| fs::remove_dir(directory).is_ok()) {
        done.push(Change::Removed(directory.to_owned()));
    }
    Ok(())
}

fn unlink(file: &Path, done: &mut Vec<Change>) -> Result<()> {
    fs::remove_file(file).with_context(|| format!("cannot remove `{}`", file.display()))?;
    done.push(Change::Removed(PathBuf::from(file)));
    Ok(())
}
