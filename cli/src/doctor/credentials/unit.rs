//! The credentials that a unit of systemd loads, as its files say. `systemctl show` of systemd 252 does
//! not print them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Where systemd looks for units, the first of them first.
const DIRECTORIES: [&str; 10] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// Where systemd looks for the file of a credential whose setting has no path.
const STORES: [&str; 4] = ["etc", "run", "usr/local/lib", "usr/lib"];

/// Directories inside of a directory of credentials that are looked into at most.
const MAX_DEPTH: usize = 8;

/// A credential that a unit loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The name of its file in the directory of credentials.
    pub name: String,
    /// What it is made from.
    pub source: Source,
}

/// What a credential is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A sealed file.
    Sealed(PathBuf),
    /// A file in clear.
    Clear(PathBuf),
    /// A sealed text in the unit.
    SealedText(String),
    /// A text in the unit.
    ClearText,
    /// What is not looked at: a specifier of systemd, or a credential of the whole system.
    Elsewhere,
}

/// The credentials of a unit. None if there is no such unit.
pub fn credentials(root: &Path, unit: &str) -> Option<Vec<Credential>> {
    let mut files = vec![fragment(root, unit)?];
    files.extend(drop_ins(root, unit));
    let mut settings = Settings::default();
    for file in files {
        settings.read(&fs::read_to_string(file).unwrap_or_default());
    }
    Some(settings.credentials(root))
}

/// The unit's own file, or that of its template.
fn fragment(root: &Path, unit: &str) -> Option<PathBuf> {
    let template = unit.split_once('@').zip(unit.rsplit_once('.'));
    let template = template.map(|((name, _), (_, kind))| format!("{name}@.{kind}"));
    let names = [Some(unit.to_owned()), template];
    let mut files = names
        .iter()
        .flatten()
        .flat_map(|name| DIRECTORIES.iter().map(move |directory| root.join(directory).join(name)));
    // A link of a unit that is masked leads to `/dev/null`, which has no settings.
    files.find(|file| file.exists())
}

/// The files that add to it, in the order in which systemd reads them. Of two with one name, the one in
/// the earlier directory counts.
fn drop_ins(root: &Path, unit: &str) -> Vec<PathBuf> {
    let (name, kind) = unit.rsplit_once('.').unwrap_or((unit, "service"));
    let mut names = vec![unit.to_owned()];
    if let Some((template, _)) = name.split_once('@') {
        names.push(format!("{template}@.{kind}"));
    }
    names.extend(name.match_indices('-').map(|(at, _)| format!("{}.{kind}", &name[..=at])));
    names.push(kind.to_owned());
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for (name, directory) in
        names.iter().flat_map(|name| DIRECTORIES.iter().map(move |it| (name, it)))
    {
        let entries = fs::read_dir(root.join(directory).join(format!("{name}.d")));
        for entry in entries.into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "conf") {
                found.entry(entry.file_name()).or_insert_with(|| entry.path());
            }
        }
    }
    found.into_values().collect()
}

/// What the settings of a unit's files come to.
#[derive(Default)]
struct Settings {
    /// By name: whether it is sealed, and the path or name of its source.
    loaded: BTreeMap<String, (bool, String)>,
    /// By name: whether it is sealed, and the text.
    set: BTreeMap<String, (bool, String)>,
}

impl Settings {
    fn read(&mut self, text: &str) {
        let mut section = "";
        for line in lines(text).iter() {
            let line = line.trim();
            if line.starts_with('[') {
                section = if line == "[Service]" { "service" } else { "" };
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| section == "service") else {
                continue;
            };
            let value = value.trim();
            let (map, is_sealed) = match key.trim() {
                "LoadCredential" => (&mut self.loaded, false),
                "LoadCredentialEncrypted" => (&mut self.loaded, true),
                "SetCredential" => (&mut self.set, false),
                "SetCredentialEncrypted" => (&mut self.set, true),
                _ => continue,
            };
            if value.is_empty() {
                map.clear();
                continue;
            }
            let (name, rest) = value.split_once(':').unwrap_or((value, ""));
            map.insert(name.trim().to_owned(), (is_sealed, rest.trim().to_owned()));
        }
    }

    fn credentials(self, root: &Path) -> Vec<Credential> {
        let mut found = Vec::new();
        for (name, (is_sealed, path)) in &self.loaded {
            found.extend(loaded(root, name, *is_sealed, path));
        }
        for (name, (is_sealed, text)) in self.set {
            // A text only stands in for a file that is not there.
            let loaded = self.loaded.contains_key(&name);
            if loaded && found.iter().any(|it| it.name == name && it.source.is_there()) {
                continue;
            }
            found.retain(|it| it.name != name);
            let source = match is_sealed {
                true => Source::SealedText(text),
                false => Source::ClearText,
            };
            found.push(Credential { name, source });
        }
        found
    }
}

impl Source {
    fn is_there(&self) -> bool {
        match self {
            Self::Sealed(path) | Self::Clear(path) => path.exists(),
            Self::SealedText(_) | Self::ClearText | Self::Elsewhere => true,
        }
    }
}

/// What one setting loads: one credential, or one for each file of a directory.
fn loaded(root: &Path, name: &str, is_sealed: bool, path: &str) -> Vec<Credential> {
    let of = |source| Credential { name: name.to_owned(), source };
    let file = |path: PathBuf| if is_sealed { Source::Sealed(path) } else { Source::Clear(path) };
    // `ID` alone is short for `ID:ID`. A name is looked up in the stores.
    let path = if path.is_empty() { name } else { path };
    if path.contains('%') {
        return vec![of(Source::Elsewhere)];
    }
    if let Some(relative) = path.strip_prefix('/') {
        let path = root.join(relative);
        return match path.is_dir() {
            true => below(&path, name, &file, MAX_DEPTH),
            false => vec![of(file(path))],
        };
    }
    let store = |above: &str| {
        let name = if is_sealed { "credstore.encrypted" } else { "credstore" };
        root.join(above).join(name).join(path)
    };
    let mut stores = STORES.into_iter().map(store);
    match stores.find(|path| path.exists()) {
        Some(path) => vec![of(file(path))],
        None if is_sealed => vec![of(file(store(STORES[0])))],
        None => vec![of(Source::Elsewhere)],
    }
}

/// The files below a directory: their credentials are named `ID_FILE`, and `ID_DIRECTORY_FILE`.
fn below(
    directory: &Path,
    name: &str,
    file: &impl Fn(PathBuf) -> Source,
    depth: usize,
) -> Vec<Credential> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries: Vec<_> = entries.map(|entry| (entry.file_name(), entry.path())).collect();
    entries.sort();
    let entries = entries.into_iter().filter(|_| depth > 0).flat_map(|(entry, path)| {
        let name = format!("{name}_{}", entry.to_string_lossy());
        match path.is_dir() {
            true => below(&path, &name, file, depth - 1),
            false => vec![Credential { name, source: file(path) }],
        }
    });
    entries.collect()
}

/// The lines of a unit's file without comments. A line that ends with a backslash goes on in the next.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        match line.strip_suffix('\\') {
            Some(start) => {
                whole.push_str(start);
                whole.push(' ');
                open = Some(whole);
            }
            None => {
                whole.push_str(line);
                lines.push(whole);
            }
        }
    }
    lines.extend(open);
    lines
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    fn write(root: &Path, name: &str, text: &str) -> Result<PathBuf> {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(&path, text)?;
        Ok(path)
    }

    fn names(root: &Path) -> Option<Vec<(String, Source)>> {
        let found = credentials(root, "a-b.service")?;
        Some(found.into_iter().map(|it| (it.name, it.source)).collect())
    }

    #[test]
    fn drop_ins_add_to_a_unit_and_take_away() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path();
        assert_eq!(names(root), None);
        write(root, "lib/systemd/system/a-b.service", "[Service]\nExecStart=/x\n")?;
        assert_eq!(names(root), Some(vec![]));
        let sealed = write(root, "etc/creds/sealed", "")?;
        write(
            root,
            "etc/systemd/system/a-b.service.d/20.conf",
            "# LoadCredential=no\n[Unit]\nLoadCredential=no:/no\n[Service]\n\
             LoadCredentialEncrypted=node.pem:\\\n;comment\n  /etc/creds/sealed\nLoadCredential = x:%h/x\n",
        )?;
        let node = ("node.pem".to_owned(), Source::Sealed(sealed));
        let other = ("x".to_owned(), Source::Elsewhere);
        assert_eq!(names(root), Some(vec![node.clone(), other]));
        // One that systemd reads before it, for all units whose names begin so.
        write(root, "run/systemd/system/a-.service.d/10.conf", "[Service]\nSetCredential=y: z\n")?;
        // One with its name in a directory of less weight.
        write(
            root,
            "lib/systemd/system/a-b.service.d/20.conf",
            "[Service]\nLoadCredential=q:/q\n",
        )?;
        write(root, "etc/systemd/system/service.d/30.conf", "[Service]\nLoadCredential=\n")?;
        assert_eq!(names(root), Some(vec![("y".to_owned(), Source::ClearText)]));
        Ok(())
    }

    #[test]
    fn names_are_looked_up_in_the_stores_and_directories_are_walked() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path();
        let stored = write(root, "usr/lib/credstore.encrypted/node.pem", "")?;
        let clear = write(root, "etc/keys/sub/clear", "")?;
        write(
            root,
            "etc/systemd/system/a-b.service",
            "[Service]\nLoadCredentialEncrypted=node.pem\nLoadCredentialEncrypted=none\n\
             LoadCredential=keys:/etc/keys\nSetCredentialEncrypted=node.pem: abc\nSetCredentialEncrypted=none: abc\n",
        )?;
        assert_eq!(
            names(root),
            Some(vec![
                ("keys_sub_clear".to_owned(), Source::Clear(clear)),
                ("node.pem".to_owned(), Source::Sealed(stored)),
                ("none".to_owned(), Source::SealedText("abc".to_owned())),
            ])
        );
        Ok(())
    }
}
