//! Installs and uninstalls the configuration as a file that containerd imports.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs};

use anyhow::{Context, Result, bail, ensure};
use tempfile::NamedTempFile;
use toml::Table;

use super::import_glob;
use super::snippet::quoted;
use super::{CONFIG, Config, Version, snippet};

/// The name of the imported file. It sorts after usual names, so that no other file overrides it.
const DROP_IN: &str = "90-keycell.toml";

/// The marks of a line that was added to an existing file, and of the line that it replaces.
const MARK: &str = "# added by `keycell config containerd`";
const FORMER: &str = "# before `keycell config containerd`: ";

/// The mark of a whole file of ours.
const OURS: &str = "# Written by `keycell config containerd --write`; `--remove` takes it away.\n";

/// The beginning of a first configuration file that Keycell creates.
const BEGUN: &str = "# Begun by `keycell config containerd --write`.\n";

/// The lines before and after Keycell's part in a template of k3s or RKE2.
const BEGIN: &str = "# keycell begin\n";
const END: &str = "# keycell end\n";

/// What to install, and where.
pub struct Installation {
    /// The first file of containerd's configuration.
    pub config: PathBuf,
    /// The containerd that reads it.
    pub version: Version,
    /// The program that can check the configuration, if there is one.
    pub program: Option<PathBuf>,
    /// The keys directory.
    pub keys: PathBuf,
    /// The decoder.
    pub decoder: PathBuf,
    /// Whether the decoder decompresses gzip layers.
    pub decompress: bool,
}

/// What was done to a file.
pub enum Change {
    None(PathBuf),
    Written(PathBuf),
    Rewritten(PathBuf),
    Edited { file: PathBuf, backup: PathBuf },
    Removed(PathBuf),
    LinesRemoved(PathBuf),
}

impl Change {
    /// The file that was changed, or did not have to be.
    pub fn file(&self) -> &Path {
        match self {
            Self::None(file)
            | Self::Written(file)
            | Self::Rewritten(file)
            | Self::Edited { file, .. }
            | Self::Removed(file)
            | Self::LinesRemoved(file) => file,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None(file) => write!(f, "`{}` is as it should be", file.display()),
            Self::Written(file) => write!(f, "wrote `{}`", file.display()),
            Self::Rewritten(file) => write!(f, "wrote `{}` again", file.display()),
            Self::Edited { file, backup } => {
                write!(f, "changed `{}`; a copy of it is `{}`", file.display(), backup.display())
            }
            Self::Removed(file) => write!(f, "removed `{}`", file.display()),
            Self::LinesRemoved(file) => {
                write!(f, "removed the lines of Keycell from `{}`", file.display())
            }
        }
    }
}

/// Installs the configuration where containerd reads it. Returns the changes. A copy
/// of a changed file is kept beside it, with the suffix `.before-keycell`.
///
/// # Errors
/// A configuration that cannot be read or changed safely; the message says how to change it by hand.
pub fn install(it: &Installation) -> Result<Vec<Change>> {
    let found = Config::read(&it.config, Some(it.version))?;
    if found.files.is_empty() {
        return create(it);
    }
    let text = snippet(found.version, &it.keys, &it.decoder, it.decompress);
    let mut done = Vec::new();
    let known = drop_ins(&found);
    if known.is_none() && is_generated(&it.config) {
        return in_template(&it.config, found.version, &text);
    }
    let directory = known.clone().unwrap_or_else(|| beside(&it.config, "conf.d"));
    let file = directory.join(DROP_IN);
    let former = [&file, &it.config].map(|file| fs::read_to_string(file).ok());
    if known.is_none() {
        done.push(import(&it.config, &directory)?);
    }
    done.push(place(&file, &(OURS.to_owned() + &text))?);
    if let Err(error) = check(it) {
        for (file, former) in [&file, &it.config].into_iter().zip(former) {
            match former {
                Some(former) => replace(file, &former)?,
                None => fs::remove_file(file)?,
            }
        }
        return Err(error);
    }
    Ok(done)
}

/// Uninstalls what [`install`] installed. Returns the changes.
///
/// # Errors
/// A file that cannot be changed.
pub fn remove(config: &Path) -> Result<Vec<Change>> {
    let mut done = Vec::new();
    let mut directories = vec![beside(config, "conf.d")];
    if let Ok(found) = Config::read(config, None) {
        directories.extend(drop_ins(&found));
    }
    directories.dedup();
    for directory in directories {
        let file = directory.join(DROP_IN);
        if fs::read_to_string(&file).is_ok_and(|text| text.starts_with(OURS)) {
            fs::remove_file(&file)
                .with_context(|| format!("cannot remove `{}`", file.display()))?;
            done.push(Change::Removed(file));
        }
    }
    let templates = ["config-v3.toml.tmpl", "config.toml.tmpl"].map(|name| beside(config, name));
    for file in templates.into_iter().chain([config.to_owned()]) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let rest = without_ours(&text);
        if rest == text {
            continue;
        }
        let is_begun = rest
            .strip_prefix(BEGUN)
            .is_some_and(|rest| rest.trim().starts_with("version") && rest.lines().count() == 1);
        if is_begun || rest.trim() == BASE.trim() {
            fs::remove_file(&file)
                .with_context(|| format!("cannot remove `{}`", file.display()))?;
            done.push(Change::Removed(file));
        } else {
            replace(&file, &rest)?;
            done.push(Change::LinesRemoved(file));
        }
    }
    Ok(done)
}

/// The beginning of a template of k3s and RKE2 that extends theirs.
const BASE: &str = "{{ template \"base\" . }}\n";

/// Creates a first configuration file, which imports a directory, where there was none.
fn create(it: &Installation) -> Result<Vec<Change>> {
    ensure!(
        !is_generated(&it.config),
        "there is no `{}`: has k3s or RKE2 been started?",
        it.config.display()
    );
    let directory = beside(&it.config, "conf.d");
    let syntax = it.version.config_version();
    let text = OURS.to_owned() + &snippet(syntax, &it.keys, &it.decoder, it.decompress);
    let glob = quoted(&directory.join("*.toml"));
    let first = format!("{BEGUN}version = {syntax}\nimports = [{glob}] {MARK}\n");
    let done = vec![place(&directory.join(DROP_IN), &text)?, place(&it.config, &first)?];
    check(it)?;
    Ok(done)
}

/// The directory of the first import that matches Keycell's file.
fn drop_ins(config: &Config) -> Option<PathBuf> {
    let takes = |glob: &&PathBuf| {
        let parent = glob.parent();
        parent.is_some_and(|parent| import_glob::matches(glob, &parent.join(DROP_IN)))
    };
    Some(config.globs.iter().find(takes)?.parent()?.to_owned())
}

/// Whether k3s or RKE2 writes this file from a template at each start.
fn is_generated(config: &Path) -> bool {
    config.to_string_lossy().contains("/rancher/")
}

fn in_template(config: &Path, version: u32, snippet: &str) -> Result<Vec<Change>> {
    let name = if version >= 3 { "config-v3.toml.tmpl" } else { "config.toml.tmpl" };
    let file = beside(config, name);
    // The version stands in what the template extends.
    let sections = snippet.split_once("\n\n").map_or(snippet, |(_, sections)| sections);
    let former = fs::read_to_string(&file).unwrap_or_else(|_| BASE.to_owned());
    let text = without_ours(&former);
    let separator = if text.ends_with('\n') { "" } else { "\n" };
    Ok(vec![place(&file, &format!("{text}{separator}{BEGIN}{sections}{END}"))?])
}

/// A text without the lines that Keycell added.
fn without_ours(text: &str) -> String {
    let mut rest = String::new();
    let mut is_ours = false;
    for line in text.split_inclusive('\n') {
        if line == BEGIN {
            is_ours = true;
        } else if line == END {
            is_ours = false;
        } else if let Some(former) = line.strip_prefix(FORMER) {
            rest += former;
        } else if !is_ours && !line.trim_end().ends_with(MARK) {
            rest += line;
        }
    }
    rest
}

/// Adds the directory to the imports of a file, in a line with a mark.
fn import(file: &Path, directory: &Path) -> Result<Change> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{shown}`"))?;
    let glob = quoted(&directory.join("*.toml"));
    let by_hand = || format!("add {glob} to the `imports` of `{shown}` by hand");
    let former = text.lines().find(|line| line.trim_start().starts_with("imports"));
    let text = match former {
        // Before the first table: below it, the name would be one of the table's.
        None => format!("imports = [{glob}] {MARK}\n{text}"),
        Some(former) => {
            let table: Table = former.parse().ok().with_context(by_hand)?;
            let list =
                table.get("imports").and_then(toml::Value::as_array).with_context(by_hand)?;
            let paths =
                list.iter().filter_map(|item| item.as_str()).map(|path| quoted(Path::new(path)));
            let paths: Vec<_> = paths.chain([glob.clone()]).collect();
            ensure!(paths.len() == list.len() + 1, by_hand());
            let line = format!("{FORMER}{former}\nimports = [{}] {MARK}", paths.join(", "));
            text.replacen(former, &line, 1)
        }
    };
    let parsed: Table = text.parse().ok().with_context(by_hand)?;
    let imports = parsed.get("imports").and_then(toml::Value::as_array).with_context(by_hand)?;
    let wanted = directory.join("*.toml");
    ensure!(imports.iter().any(|item| item.as_str().map(Path::new) == Some(&wanted)), by_hand());
    place(file, &text)
}

/// Checks the configuration with the installed containerd, if there is one.
fn check(it: &Installation) -> Result<()> {
    let found = Config::read(&it.config, Some(it.version))?;
    for (id, processor) in &found.processors {
        let is_ours = super::WITH_PAYLOAD.contains(&id.as_str());
        let path = Path::new(&processor.path);
        ensure!(
            !is_ours || path == it.decoder,
            "`{id}` of `{}` comes after ours",
            processor.file.as_deref().unwrap_or(path).display()
        );
    }
    let Some(program) = &it.program else { return Ok(()) };
    let mut command = Command::new(program);
    command.arg("--config").arg(&it.config).args(["config", "dump"]).stdin(Stdio::null());
    let Ok(output) = command.output() else { return Ok(()) };
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr);
        bail!(
            "containerd does not take the configuration, so it was taken back: {}",
            output.trim()
        );
    }
    Ok(())
}

/// Writes a file atomically, and keeps a copy of the old one.
fn place(file: &Path, text: &str) -> Result<Change> {
    let shown = file.display();
    match fs::read_to_string(file) {
        Ok(former) if former == text => return Ok(Change::None(file.to_owned())),
        Ok(former) if former.starts_with(OURS) => {
            replace(file, text)?;
            return Ok(Change::Rewritten(file.to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            replace(file, text)?;
            return Ok(Change::Written(file.to_owned()));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read `{shown}`")),
    }
    let backup = beside(file, &format!("{}.before-keycell", name(file)));
    if !backup.exists() {
        fs::copy(file, &backup).with_context(|| format!("cannot write `{}`", backup.display()))?;
    }
    replace(file, text)?;
    Ok(Change::Edited { file: file.to_owned(), backup })
}

fn replace(file: &Path, text: &str) -> Result<()> {
    let shown = file.display();
    let parent = file.parent().unwrap_or(Path::new("/"));
    let write = || -> Result<()> {
        fs::create_dir_all(parent)?;
        let mut temporary = NamedTempFile::new_in(parent)?;
        temporary.write_all(text.as_bytes())?;
        let mode = match fs::metadata(file) {
            Ok(former) => former.permissions(),
            Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
        };
        temporary.as_file().set_permissions(mode)?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write `{shown}`"))
}

fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new(CONFIG)).join(name)
}

fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
