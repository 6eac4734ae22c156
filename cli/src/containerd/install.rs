//! Installs the configuration where containerd reads it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs};

use anyhow::{Context, Result, bail, ensure};
use keycell_content_store::USUAL_ROOTS;

use super::choices::Choices;
use super::generated::{Generator, Place, beside};
use super::transaction::Transaction;
use super::{Config, Version, import_glob, imports, snippet};

/// The name of the imported file. It sorts after usual names, so that no other file overrides it.
pub(super) const DROP_IN: &str = "90-keycell.toml";

/// What is imported where no directory is: our file alone, and nothing else that lies there. It is a
/// pattern so that containerd also starts when the file was removed.
const PATTERN: &str = "*-keycell.toml";

/// The mark of a whole file of ours.
pub(super) const OURS: &str =
    "# Written by `keycell config containerd --write`; `--remove` takes it away.\n";

/// The beginning of a first configuration file, or of a template, that Keycell creates.
pub(super) const BEGUN: &str = "# Begun by `keycell config containerd --write`.\n";

/// The next line, where the directory did not exist either.
pub(super) const MADE: &str = "# The directory was made for it.\n";

/// The lines before and after Keycell's part in a template.
pub(super) const BEGIN: &str = "# keycell begin";
pub(super) const END: &str = "# keycell end";

/// The beginning of a template of k3s and RKE2 that extends theirs.
pub(super) const BASE: &str = "{{ template \"base\" . }}\n";

/// What to install, and where.
pub struct Installation {
    /// The first file of containerd's configuration.
    pub config: PathBuf,
    /// Its root, if the command line of the containerd that runs names one.
    pub root: Option<PathBuf>,
    /// The containerd that reads it.
    pub version: Version,
    /// The program that can check the configuration, if there is one.
    pub program: Option<PathBuf>,
    /// What the flags choose, and else what is installed now.
    pub wanted: Wanted,
    /// What is chosen where nothing is installed.
    pub usual: Choices,
}

/// What the flags choose.
#[derive(Default)]
pub struct Wanted {
    /// The keys directory.
    pub keys: Option<PathBuf>,
    /// The decoder.
    pub decoder: Option<PathBuf>,
    /// Whether the decoder decompresses gzip layers.
    pub decompress: Option<bool>,
}

/// What was done to a file or a directory.
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

/// Installs the configuration where containerd reads it. Returns the changes. A copy of a changed file is
/// kept beside it, with the suffix `.before-keycell`.
///
/// # Errors
/// A configuration that cannot be read or changed safely; the message says how to change it by hand. Then
/// everything is as it was.
pub fn install(it: &Installation) -> Result<Vec<Change>> {
    let mut transaction = Transaction::default();
    let done = write(it, &mut transaction);
    if done.is_err() {
        transaction.take_back()?;
    }
    done
}

fn write(it: &Installation, transaction: &mut Transaction) -> Result<Vec<Change>> {
    let text = fs::read_to_string(&it.config).ok();
    let generator = Generator::of(&it.config, text.as_deref());
    let found = Config::read(&it.config, Some(it.version))?;
    if found.files.is_empty() {
        let shown = it.config.display();
        ensure!(
            generator.is_none(),
            "there is no `{shown}`: its program writes it when it is started, so start that first"
        );
        return create(it, transaction);
    }
    let root = it.root.as_ref().unwrap_or(&found.root);
    let imported = drop_ins(&found);
    let place = match (&imported, &generator) {
        (Some(directory), _) => Place::Directory(directory.clone()),
        (None, Some(Generator::Unknown(says))) => bail!(
            "`{}` says `{}`: let the program that writes it import a directory, for example `imports = \
             [\"/etc/containerd/conf.d/*.toml\"]`, or add what `keycell config containerd` prints",
            it.config.display(),
            says.escape_debug()
        ),
        (None, Some(generator)) => {
            generator.place(&it.config, found.version).context("where does its part go?")?
        }
        (None, None) => Place::Directory(beside(&it.config, "conf.d")),
    };
    let mut done = Vec::new();
    match place {
        Place::Template(file) => {
            done.push(template(it, root, found.version, &file, transaction)?);
            return Ok(done);
        }
        Place::Directory(directory) => {
            if imported.is_none() && generator.is_none() {
                done.push(import(&it.config, &directory, transaction)?);
            }
            done.push(drop_in(it, root, found.version, &directory, transaction)?);
        }
    }
    // The program that generates the file adds the import when it is started.
    if imported.is_some() || generator.is_none() {
        check(it)?;
    }
    Ok(done)
}

/// Creates a first configuration file, which imports our file, where there was none.
fn create(it: &Installation, transaction: &mut Transaction) -> Result<Vec<Change>> {
    let parent = it.config.parent().unwrap_or(Path::new("/"));
    let made = if transaction.make_directory(parent)? { MADE } else { "" };
    let directory = beside(&it.config, "conf.d");
    let syntax = it.version.config_version();
    let root = it.root.clone().unwrap_or("/var/lib/containerd".into());
    let drop_in = drop_in(it, &root, syntax, &directory, transaction)?;
    let first = format!("{BEGUN}{made}version = {syntax}\n");
    let first = imports::with(&first, &pattern(&directory)).context("no import can be added")?;
    let done = vec![drop_in, place(&it.config, &first, transaction)?];
    check(it)?;
    Ok(done)
}

/// Writes our file in a directory that is imported.
fn drop_in(
    it: &Installation,
    root: &Path,
    syntax: u32,
    directory: &Path,
    transaction: &mut Transaction,
) -> Result<Change> {
    let file = directory.join(DROP_IN);
    let former = fs::read_to_string(&file).ok();
    let made_before = former.as_ref().is_some_and(|text| text.contains(MADE));
    let is_made = transaction.make_directory(directory)? || made_before;
    let choices = choices(it, root, former.as_deref());
    let made = if is_made { MADE } else { "" };
    place(&file, &format!("{OURS}{made}{}", snippet(syntax, &choices)), transaction)
}

/// Adds our part to the end of a template.
fn template(
    it: &Installation,
    root: &Path,
    syntax: u32,
    file: &Path,
    transaction: &mut Transaction,
) -> Result<Change> {
    let former = fs::read_to_string(file).unwrap_or_else(|_| format!("{BEGUN}{BASE}"));
    let (rest, part) = without_part(&former);
    let text = snippet(syntax, &choices(it, root, part.as_deref()));
    // The version stands in what the template extends, or makes.
    let sections = text.split_once("\n\n").map_or(text.as_str(), |(_, sections)| sections);
    let separator = if rest.is_empty() || rest.ends_with('\n') { "" } else { "\n" };
    place(file, &format!("{rest}{separator}{BEGIN}\n{sections}{END}\n"), transaction)
}

/// What the flags choose, or else what is installed, or else what is usual.
fn choices(it: &Installation, root: &Path, installed: Option<&str>) -> Choices {
    let mut choices = installed.and_then(Choices::of).unwrap_or_else(|| it.usual.clone());
    if !choices.decoder.is_file() {
        choices.decoder.clone_from(&it.usual.decoder);
    }
    let Wanted { keys, decoder, decompress } = &it.wanted;
    choices.keys = keys.clone().unwrap_or(choices.keys);
    choices.decoder = decoder.clone().unwrap_or(choices.decoder);
    choices.decompress = decompress.unwrap_or(choices.decompress);
    let is_usual = USUAL_ROOTS.iter().any(|usual| root == Path::new(usual));
    let is_chosen = |store: &String| store == "off" || is_usual && Path::new(store).is_dir();
    if !choices.content_store.as_ref().is_some_and(is_chosen) {
        choices.content_store = (!is_usual).then(|| root.display().to_string());
    }
    choices
}

/// The directory of the first import that matches Keycell's file.
pub(super) fn drop_ins(config: &Config) -> Option<PathBuf> {
    let directory = |glob: &PathBuf| {
        let parent = glob.parent()?.to_owned();
        let is_one = !parent.to_string_lossy().contains(['*', '?', '[', '\\']);
        (is_one && import_glob::matches(glob, &parent.join(DROP_IN))).then_some(parent)
    };
    config.globs.iter().find_map(directory)
}

/// What a first file imports to read our file in this directory.
pub(super) fn pattern(directory: &Path) -> String {
    directory.join(PATTERN).display().to_string()
}

/// A text without Keycell's part, and that part.
pub(super) fn without_part(text: &str) -> (String, Option<String>) {
    let (mut rest, mut part) = (String::new(), None);
    let mut is_ours = false;
    for line in text.split_inclusive('\n') {
        match line.trim_end() {
            BEGIN => {
                is_ours = true;
                part = Some(String::new());
            }
            END if is_ours => is_ours = false,
            _ => match &mut part {
                Some(part) if is_ours => part.push_str(line),
                _ => rest.push_str(line),
            },
        }
    }
    (rest, part)
}

/// Adds our file to the imports of a file.
fn import(file: &Path, directory: &Path, transaction: &mut Transaction) -> Result<Change> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{shown}`"))?;
    let pattern = pattern(directory);
    let by_hand = || format!("add \"{pattern}\" to the `imports` of `{shown}` by hand");
    place(file, &imports::with(&text, &pattern).with_context(by_hand)?, transaction)
}

/// Checks the configuration with the installed containerd, if there is one.
fn check(it: &Installation) -> Result<()> {
    let found = Config::read(&it.config, Some(it.version))?;
    for id in super::WITH_PAYLOAD {
        let file = found.processors.get(id).and_then(|processor| processor.file.as_deref());
        let is_ours = file.is_some_and(|file| file.ends_with(DROP_IN));
        let other = file.unwrap_or(Path::new("containerd's defaults")).display();
        ensure!(is_ours, "`{id}` of `{other}` comes after ours");
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

/// Writes a file, and keeps a copy of an operator's.
fn place(file: &Path, text: &str, transaction: &mut Transaction) -> Result<Change> {
    let former = fs::read_to_string(file).ok();
    let change = match &former {
        Some(former) if former == text => return Ok(Change::None(file.to_owned())),
        Some(former) if former.starts_with(OURS) || former.starts_with(BEGUN) => {
            Change::Rewritten(file.to_owned())
        }
        Some(_) => Change::Edited { file: file.to_owned(), backup: transaction.back_up(file)? },
        None => Change::Written(file.to_owned()),
    };
    transaction.write(file, text.as_bytes())?;
    Ok(change)
}
