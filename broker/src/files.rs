//! The configured keys, sorted: PKCS#11 key files stay here, the others are for the guest.

use std::io::{self, Read};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use keycell_broker_protocol as protocol;
use zeroize::Zeroizing;

use crate::tokens::TokenKey;

/// A larger file is no key: 1 MiB, as in the guest.
const MAX_FILE: u64 = 1024 * 1024;

/// What all files hold together, in bytes: 32 MiB, as much as a ring takes.
const MAX_FILES: usize = 32 * 1024 * 1024;

/// Files and directories that are looked at, as in the guest.
const MAX_ENTRIES: usize = 16_384;

/// Directories in directories; links can form a ring.
const MAX_DEPTH: usize = 8;

/// How often is looked again at what was just there, as in the guest: a mounted Secret is exchanged
/// by a link that changes, and what it led to is removed at once.
const EXCHANGES: usize = 16;

/// Passwords lie beside their key under its name and one of these.
const PASSWORD_SUFFIXES: [&str; 2] = [".pass", ".password"];

/// What lies in a keys directory.
#[derive(Default)]
pub struct Sorted {
    /// The keys in tokens, in the order of their names.
    pub tokens: Vec<TokenKey>,
    /// Everything, in that order.
    pub found: Vec<protocol::Found>,
}

impl Sorted {
    /// Reads `path`, a directory or one file. As in the guest, links that leave the directory, and
    /// what cannot be read, are passed over.
    ///
    /// # Errors
    /// Where `path` itself cannot be read.
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut walk = Walk::default();
        if path.is_dir() {
            let directory = Dir::open_ambient_dir(path, ambient_authority())?;
            walk.directory(&directory, Path::new("."), "", 0);
        } else {
            walk.single(path)?;
        }
        Ok(walk.sorted)
    }
}

#[derive(Default)]
struct Walk {
    sorted: Sorted,
    entries: usize,
    bytes: usize,
}

impl Walk {
    /// One key file, and its password. The operator named this very file, so a link may lead
    /// anywhere.
    fn single(&mut self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
        self.add(&name, read(std::fs::File::open(path)?)?);
        for suffix in PASSWORD_SUFFIXES {
            let mut beside = path.as_os_str().to_owned();
            beside.push(suffix);
            if let Ok(content) = std::fs::File::open(beside).and_then(read) {
                self.add(&format!("{name}{suffix}"), content);
            }
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Dir, path: &Path, shown: &str, depth: usize) {
        let list = || -> io::Result<Vec<_>> {
            let entries = directory.read_dir(path)?.take(MAX_ENTRIES + 1).flatten();
            Ok(entries.map(|entry| entry.file_name()).collect())
        };
        let mut names = match again(directory, path, list) {
            Ok(names) => names,
            Err(error) => return self.skip(shown, &error.kind().to_string()),
        };
        names.sort();
        for name in names {
            let text = name.to_string_lossy();
            // `..data` and `..2026_11_23_…` of a mounted Secret: its keys are links into them.
            if text.starts_with("..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                let reason = format!("beyond the {MAX_ENTRIES} files that are looked at");
                return self.skip(shown, &reason);
            }
            let shown = if shown.is_empty() { text.to_string() } else { format!("{shown}/{text}") };
            self.entry(directory, &path.join(&name), &shown, depth);
        }
    }

    fn entry(&mut self, directory: &Dir, path: &Path, shown: &str, depth: usize) {
        match again(directory, path, || look(directory, path)) {
            Ok(Found::Directory) if depth < MAX_DEPTH => {
                self.directory(directory, path, shown, depth + 1);
            }
            Ok(Found::Directory) => self.skip(shown, "directories are nested too deeply"),
            Ok(Found::Special) => self.skip(shown, "not a regular file"),
            Ok(Found::Large) => self.skip(shown, "larger than 1 MiB"),
            Ok(Found::Content(content)) => self.add(shown, content),
            Err(error) if is_link(directory, path) => {
                let reason = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "the link leaves the keys directory or is absolute"
                    }
                    _ => "the link leads nowhere, or in a circle",
                };
                self.skip(shown, reason);
            }
            Err(error) => self.skip(shown, &error.kind().to_string()),
        }
    }

    fn add(&mut self, name: &str, content: Zeroizing<Vec<u8>>) {
        let found = match TokenKey::parse(&content) {
            Some(Ok(token)) => {
                let shown = token.shown();
                self.sorted.tokens.push(token);
                protocol::Found::Token(shown)
            }
            Some(Err(refusal)) => {
                return self.skip(name, &refusal.to_string());
            }
            None if self.bytes.saturating_add(content.len()) > MAX_FILES => {
                let reason = format!("the files are larger than {} MiB together", MAX_FILES >> 20);
                return self.skip(name, &reason);
            }
            None => {
                self.bytes += content.len();
                protocol::Found::File { name: name.to_owned(), content }
            }
        };
        self.sorted.found.push(found);
    }

    fn skip(&mut self, shown: &str, reason: &str) {
        let name = if shown.is_empty() { "the keys directory" } else { shown }.to_owned();
        self.sorted.found.push(protocol::Found::Skipped { name, reason: reason.to_owned() });
    }
}

/// Does it again where what `path` leads to has vanished on the way: at most [`EXCHANGES`] times.
fn again<T>(
    directory: &Dir,
    path: &Path,
    mut work: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut done = work();
    for _ in 0..EXCHANGES {
        match &done {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_there(directory, path) => {
                done = work();
            }
            _ => break,
        }
    }
    done
}

enum Found {
    Directory,
    Special,
    Large,
    Content(Zeroizing<Vec<u8>>),
}

fn look(directory: &Dir, path: &Path) -> io::Result<Found> {
    // Before it is opened: opening a pipe would wait for a writer.
    let found = directory.metadata(path)?;
    Ok(if found.is_dir() {
        Found::Directory
    } else if !found.is_file() {
        Found::Special
    } else if found.len() > MAX_FILE {
        Found::Large
    } else {
        Found::Content(read(directory.open(path)?.into_std())?)
    })
}

/// With room for all of it: a vector that grows leaves copies behind.
fn read(file: std::fs::File) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = file.metadata()?.len();
    if length > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(length).read_to_end(&mut content)?;
    Ok(content)
}

/// Whether there is something of this name, be it a link that leads nowhere.
fn is_there(directory: &Dir, path: &Path) -> bool {
    directory.symlink_metadata(path).is_ok()
}

fn is_link(directory: &Dir, path: &Path) -> bool {
    directory.symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}
