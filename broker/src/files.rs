//! The configured keys, sorted: PKCS#11 key files stay here, other keys are for the guest.
//!
//! A file may hold a PIN without being a key file that can be read: it has a byte that is not UTF-8, a
//! brace too few, or is an editor's copy. So only what is known to be something else is handed over:
//! keys and certificates in PEM, DER, JWK or OpenPGP form, of those only the key itself, and the
//! passwords that lie beside them. Everything else is passed over, with its reason.

mod marks;
mod material;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use keycell_broker_protocol as protocol;
use zeroize::Zeroizing;

use crate::Refusal;
use crate::tokens::{KnownPin, TokenKey, printable};
pub(crate) use marks::mentions_pin;
use material::key_material;

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
        Ok(Self::of(walk.seen))
    }

    /// A PIN's file may come before the key file that names it, so all of them are known by now.
    fn of(seen: Vec<Seen>) -> Self {
        let mut sorted = Self::default();
        let mut read = Vec::with_capacity(seen.len());
        for seen in seen {
            let found = seen.found.and_then(|file| match TokenKey::parse(&file.content) {
                Some(Ok(token)) => {
                    let shown = token.shown();
                    sorted.tokens.push(token);
                    Ok(Sorting::Token(shown))
                }
                Some(Err(refusal)) => Err(PassedOver::Damaged(refusal)),
                None => Ok(Sorting::File(file)),
            });
            read.push((seen.name, found));
        }
        let pins: Vec<_> = sorted.tokens.iter().filter_map(TokenKey::known_pin).collect();
        let mut keys = BTreeSet::new();
        for (name, found) in read {
            let found = match found {
                Ok(Sorting::Token(shown)) => protocol::Found::Token(shown),
                Ok(Sorting::File(file)) => match for_the_guest(&name, file, &pins, &mut keys) {
                    Ok(content) => protocol::Found::File { name, content },
                    Err(why) => protocol::Found::Skipped { name, reason: why.to_string() },
                },
                Err(why) => protocol::Found::Skipped { name, reason: why.to_string() },
            };
            sorted.found.push(found);
        }
        sorted
    }
}

enum Sorting {
    Token(String),
    File(File),
}

/// What the guest gets of a file that is no PKCS#11 key file. `keys` are the names of the keys so far:
/// the name of a password begins with that of its key, so it comes later.
fn for_the_guest(
    name: &str,
    file: File,
    pins: &[KnownPin],
    keys: &mut BTreeSet<String>,
) -> Result<Zeroizing<Vec<u8>>, PassedOver> {
    if let Some(pin) = pins.iter().find(|pin| pin.is(&file.content, file.identity)) {
        return Err(PassedOver::Pin(pin.shown.clone()));
    }
    let material = key_material(&file.content);
    if mentions_pin(&file.content) {
        return Err(match material {
            Some(_) => PassedOver::BesideKey,
            None => PassedOver::AlmostToken(TokenKey::fault(&file.content)),
        });
    }
    if let Some(material) = material {
        keys.insert(name.to_owned());
        return Ok(material);
    }
    let owner = PASSWORD_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    match owner {
        Some(owner) if keys.contains(owner) => Ok(file.content),
        Some(owner) => Err(PassedOver::PasswordAlone(owner.to_owned())),
        None => Err(PassedOver::NoKey),
    }
}

/// Why something is not handed over, for the operator: the guest does not learn it.
#[derive(Debug, thiserror::Error)]
enum PassedOver {
    #[error("{0}")]
    Damaged(Refusal),
    #[error(
        "it mentions a PKCS#11 key or a PIN but is no key file, because {0}: correct it, or remove \
         it from the keys directory"
    )]
    AlmostToken(String),
    #[error(
        "it holds a key but also mentions a PKCS#11 key or a PIN: remove everything but the key \
         from it"
    )]
    BesideKey,
    #[error("it holds the PIN of `{0}`")]
    Pin(String),
    #[error("the password of `{}`, and no such key is handed over", printable(.0))]
    PasswordAlone(String),
    #[error(
        "not a key in PEM, DER, JWK or OpenPGP form: where PKCS#11 modules are allowed, nothing else \
         is handed over, because it may hold a PIN"
    )]
    NoKey,
    #[error("beyond the {MAX_ENTRIES} files that are looked at")]
    TooMany,
    #[error("the files are larger than {} MiB together", MAX_FILES >> 20)]
    TooMuch,
    #[error("larger than 1 MiB")]
    Large,
    #[error("directories are nested too deeply")]
    Deep,
    #[error("not a regular file")]
    Special,
    #[error("the link leaves the keys directory or is absolute")]
    LeavingLink,
    #[error("the link leads nowhere, or in a circle")]
    DeadLink,
    #[error("{}", .0.kind())]
    Unreadable(io::Error),
}

/// Something in the keys directory.
struct Seen {
    name: String,
    found: Result<File, PassedOver>,
}

/// A file that was read.
struct File {
    content: Zeroizing<Vec<u8>>,
    identity: Identity,
}

/// Which file it is, whatever its name: its device and its number there.
pub(crate) type Identity = (u64, u64);

#[derive(Default)]
struct Walk {
    seen: Vec<Seen>,
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
            Err(error) => return self.skip(shown, PassedOver::Unreadable(error)),
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
                return self.skip(shown, PassedOver::TooMany);
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
            Ok(Found::Directory) => self.skip(shown, PassedOver::Deep),
            Ok(Found::Special) => self.skip(shown, PassedOver::Special),
            Ok(Found::Large) => self.skip(shown, PassedOver::Large),
            Ok(Found::File(file)) => self.add(shown, file),
            Err(error) if is_link(directory, path) => match error.kind() {
                io::ErrorKind::PermissionDenied => self.skip(shown, PassedOver::LeavingLink),
                _ => self.skip(shown, PassedOver::DeadLink),
            },
            Err(error) => self.skip(shown, PassedOver::Unreadable(error)),
        }
    }

    fn add(&mut self, name: &str, file: File) {
        let together = self.bytes.saturating_add(file.content.len());
        if together > MAX_FILES {
            return self.skip(name, PassedOver::TooMuch);
        }
        self.bytes = together;
        self.seen.push(Seen { name: name.to_owned(), found: Ok(file) });
    }

    fn skip(&mut self, shown: &str, why: PassedOver) {
        let name = if shown.is_empty() { "the keys directory" } else { shown }.to_owned();
        self.seen.push(Seen { name, found: Err(why) });
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
    File(File),
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
        Found::File(read(directory.open(path)?.into_std())?)
    })
}

/// With room for all of it: a vector that grows leaves copies behind.
fn read(file: std::fs::File) -> io::Result<File> {
    let metadata = file.metadata()?;
    let (length, identity) = (metadata.len(), (metadata.dev(), metadata.ino()));
    if length > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(length).read_to_end(&mut content)?;
    Ok(File { content, identity })
}

/// Whether there is something of this name, be it a link that leads nowhere.
fn is_there(directory: &Dir, path: &Path) -> bool {
    directory.symlink_metadata(path).is_ok()
}

fn is_link(directory: &Dir, path: &Path) -> bool {
    directory.symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}
