//! The keys directory, as far as it was granted.

use std::io;
use std::path::Path;

use ocicrypt::keyring::KeyRing;

use crate::files::{Files, Found, Listing};

/// Files and directories that are looked at. A node has a handful; a directory of a million files
/// is a mistake that must not take minutes.
const MAX_ENTRIES: usize = 16_384;

/// Directories in directories. Links inside the directory are followed, so they can form a ring:
/// this ends it.
const MAX_DEPTH: usize = 8;

/// How often is looked again at what was just there. When a mounted Secret changes, the kubelet lets
/// `..data` lead to another directory and removes the old one: whoever is on the way finds neither,
/// and at once thereafter the new one.
const EXCHANGES: usize = 16;

/// Adds every key below `directory` to `ring`, in the order of their names. What is no key, or
/// cannot be read, is remembered with its reason; a directory that is missing holds no keys.
///
/// Go ctd-decoder gives up at the first link, or file that is not a private key; Keycell follows
/// links that stay inside (Kubernetes mounts Secrets as links) and passes over the rest.
pub fn add_directory(ring: &mut KeyRing, directory: &Path) {
    let mut walk = Walk { ring, files: &Files::of(directory), entries: 0 };
    walk.directory(Path::new(""), "", 0);
}

struct Walk<'a> {
    ring: &'a mut KeyRing,
    files: &'a Files,
    entries: usize,
}

impl Walk<'_> {
    /// `path` is below the directory, and `shown` is that for a person.
    fn directory(&mut self, path: &Path, shown: &str, depth: usize) {
        let listing = self.again(path, |files| files.list(path, MAX_ENTRIES + 1));
        let Listing { mut names, fault } = match listing {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth == 0 => return,
            Err(error) => return self.skip(shown, &reason(&error)),
        };
        if let Some(fault) = fault {
            self.skip(shown, fault);
        }
        names.sort();
        for name in names {
            let text = name.to_string_lossy();
            // `..data` and `..2026_11_23_…` of a mounted Secret: its keys are links into them.
            if text.starts_with("..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self
                    .skip(shown, &format!("beyond the {MAX_ENTRIES} files that are looked at"));
            }
            let shown =
                if shown.is_empty() { text.into_owned() } else { format!("{shown}/{text}") };
            self.entry(&path.join(name), &shown, depth);
        }
    }

    fn entry(&mut self, path: &Path, shown: &str, depth: usize) {
        let is_link = || self.files.is_link(path);
        match self.again(path, |files| files.look(path)) {
            Ok(Found::Directory) if depth < MAX_DEPTH => self.directory(path, shown, depth + 1),
            Ok(Found::Directory) => self.skip(shown, "directories are nested too deeply"),
            Ok(Found::Special) => self.skip(shown, "not a regular file"),
            Ok(Found::Large) => self.skip(shown, "larger than 1 MiB"),
            Ok(Found::Content(content)) => self.ring.add_file(shown, &content),
            // Absolute paths lead out, even back into the directory.
            Err(error) if is_link() && error.kind() == io::ErrorKind::PermissionDenied => {
                self.skip(shown, "the link leaves the keys directory or is absolute");
            }
            Err(_) if is_link() => self.skip(shown, "the link leads nowhere, or in a circle"),
            Err(error) => self.skip(shown, &reason(&error)),
        }
    }

    /// Does it again where what `path` leads to has vanished on the way: at most [`EXCHANGES`] times.
    fn again<T>(&self, path: &Path, work: impl Fn(&Files) -> io::Result<T>) -> io::Result<T> {
        let mut done = work(self.files);
        for _ in 0..EXCHANGES {
            match &done {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && self.files.is_there(path) =>
                {
                    done = work(self.files);
                }
                _ => break,
            }
        }
        done
    }

    fn skip(&mut self, shown: &str, reason: &str) {
        let shown = if shown.is_empty() { "/keys" } else { shown };
        self.ring.skip(shown, reason);
    }
}

/// Why, without the numbers that the system adds for programmers.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "not there".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}
