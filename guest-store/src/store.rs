//! The store of installed guests: a directory that only its owner may write to, with a directory
//! for each guest.
//!
//! | file | what it is |
//! |---|---|
//! | `NAME/guest.cwasm` | native code: whoever can write to it runs code in the decoder |
//! | `NAME/record.json` | its record: [`Record`] |
//! | `NAME/guest.wasm` | the file that was installed, to check and to compile it anew |
//! | `NAME/guest.minisig` | the signature over that file, if there is one |
//! | `default` | the name of the guest that is used where none is named |

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use keycell_engine::ENGINE;
use keycell_trusted_path::Trust;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::record::Record;
use crate::refusal::RecordFault;
pub use crate::refusal::Refusal;

/// Where the store is unless it is said otherwise.
pub const DEFAULT_STORE: &str = "/var/lib/keycell/guests";

/// The name of the guest that `ctd-decoder` was built with.
pub const EMBEDDED: &str = "embedded";

/// The file that names the default guest.
pub const DEFAULT: &str = "default";

/// The files of a guest.
pub const ARTEFACT: &str = "guest.cwasm";
/// See [`ARTEFACT`].
pub const RECORD: &str = "record.json";
/// See [`ARTEFACT`].
pub const SOURCE: &str = "guest.wasm";
/// See [`ARTEFACT`].
pub const SIGNATURE: &str = "guest.minisig";

/// The longest record, in bytes.
const MAX_RECORD: u64 = 64 * 1024;

/// The largest artefact, in bytes: the embedded one has three million.
const MAX_ARTEFACT: u64 = 256 * 1024 * 1024;

/// The most names that a message lists.
const SOME_NAMES: usize = 8;

/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// An open store.
pub struct Store {
    path: PathBuf,
    directory: OwnedFd,
    trust: Trust,
}

/// An installed guest, of which everything was checked but the digest of its code.
pub struct Installed {
    /// What is known of it.
    pub record: Record,
    /// Its native code, at the beginning of the file.
    pub artefact: File,
    path: PathBuf,
    directory: OwnedFd,
    trust: Trust,
}

impl Store {
    /// Opens the store at `path`; `None` where there is none.
    ///
    /// # Errors
    /// A store that others than root and the user of this process could have written to, or put in
    /// the place of this one: whoever can write to a directory above it, or to that of a link.
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn open(path: &Path) -> Result<Option<Self>, Refusal> {
        let trust = Trust::of_this_process();
        match trust.open_directory(path) {
            Ok((directory, path)) => Ok(Some(Self { path, directory, trust })),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) if error.is_distrust() => Err(Refusal::Untrusted(error)),
            Err(error) => Err(Refusal::Store { path: path.to_owned(), error }),
        }
    }

    /// The guest that is used where none is named; `None` is the embedded one.
    ///
    /// # Errors
    /// A file that is there and cannot be read or trusted: the embedded guest in its place would
    /// not be what the operator chose.
    pub fn default_guest(&self) -> Result<Option<String>, Refusal> {
        let path = self.path.join(DEFAULT);
        let mut text = String::new();
        let found = open_file(self.trust, &self.directory, &self.path, DEFAULT, MAX_RECORD)?;
        let Some((file, _)) = found else { return Ok(None) };
        if let Err(error) = file.take(MAX_RECORD).read_to_string(&mut text) {
            return Err(Refusal::DefaultUnreadable { path, error });
        }
        let name = text.trim();
        match is_name(name) {
            Ok(()) => Ok(Some(name.to_owned())),
            Err(_) => Err(Refusal::DefaultIsNoName { path }),
        }
    }

    /// The names of what is installed, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (is_name(&name).is_ok() && entry.file_type().ok()?.is_dir()).then_some(name)
        });
        let mut names = names.collect::<Vec<_>>();
        names.sort();
        names
    }

    /// Finds the guest `name`, with everything checked but the digest of its code: who owns its
    /// files and can write to them, its record, and that it was compiled for this engine.
    ///
    /// # Errors
    /// What is wrong with it, with the way out.
    pub fn guest(&self, name: &str) -> Result<Installed, Refusal> {
        let found = self.find(name)?;
        let Record { engine, target, .. } = &found.record;
        let (owned, rebuild) = (name.to_owned(), self.command("rebuild", name));
        if engine != ENGINE {
            return Err(Refusal::OtherEngine { name: owned, engine: engine.clone(), rebuild });
        }
        if *target != keycell_engine::target() {
            return Err(Refusal::OtherTarget { name: owned, target: target.clone(), rebuild });
        }
        Ok(found)
    }

    /// [`Store::guest`], for whatever engine it was compiled.
    ///
    /// # Errors
    /// As there.
    pub fn find(&self, name: &str) -> Result<Installed, Refusal> {
        is_name(name)?;
        let path = self.path.join(name);
        let directory = self.directory_of(name, &path)?;
        let reinstall = self.reinstall(name);
        let incomplete = |file| {
            let (name, reinstall) = (name.to_owned(), reinstall.clone());
            Refusal::Incomplete { name, file, reinstall }
        };

        let record = open_file(self.trust, &directory, &path, RECORD, MAX_RECORD)?;
        let (record, _) = record.ok_or_else(|| incomplete(RECORD))?;
        let unusable = |fault| {
            let (path, reinstall) = (path.join(RECORD), reinstall.clone());
            Refusal::Record { path, fault, reinstall }
        };
        let mut json = Vec::new();
        record
            .take(MAX_RECORD)
            .read_to_end(&mut json)
            .map_err(|error| unusable(RecordFault::Unreadable(error)))?;
        let record = Record::parse(&json).map_err(|error| unusable(error.into()))?;
        if record.name != name {
            return Err(unusable(RecordFault::OtherGuest(printable(&record.name))));
        }
        let artefact = open_file(self.trust, &directory, &path, ARTEFACT, MAX_ARTEFACT)?;
        let (artefact, length) = artefact.ok_or_else(|| incomplete(ARTEFACT))?;
        if length != record.size {
            return Err(self.changed(name));
        }
        Ok(Installed { record, artefact, path, directory, trust: self.trust })
    }

    fn directory_of(&self, name: &str, path: &Path) -> Result<OwnedFd, Refusal> {
        // One component at a time, and no link in any: a name cannot lead out of the store.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Err(self.unknown(name)),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(not_plain(path, "directory")),
            Err(error) => return Err(unreadable(path, error)),
        };
        let found = fstat(&directory).map_err(|error| unreadable(path, error))?;
        nobody_else(self.trust, path, &found)?;
        Ok(directory)
    }

    /// There is no guest `name`.
    pub fn unknown(&self, name: &str) -> Refusal {
        no_guest(name, &self.path, Some(self.names().into_iter().take(SOME_NAMES).collect()))
    }

    /// The code of the guest `name` is not what was installed.
    pub fn changed(&self, name: &str) -> Refusal {
        Refusal::Changed { name: name.to_owned(), reinstall: self.reinstall(name) }
    }

    /// The words of `keycell` that install the guest `name` again.
    pub fn reinstall(&self, name: &str) -> String {
        self.command("install --replace FILE --name", name)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The words of `keycell` that do `verb` to `name` in this store.
    pub fn command(&self, verb: &str, name: &str) -> String {
        command(verb, name, &self.path)
    }
}

impl Installed {
    /// Another file of it; `None` where it has none.
    ///
    /// # Errors
    /// As [`Store::guest`].
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let found = open_file(self.trust, &self.directory, &self.path, name, MAX_ARTEFACT)?;
        let Some((file, length)) = found else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(length as usize);
        let read = file.take(length).read_to_end(&mut bytes);
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) => Err(Refusal::Unreadable { name: name.to_owned(), error }),
        }
    }
}

/// The guest that a decoder runs, and its store: the one that is `named`, else the default one of the
/// store at `path`. `None`: the one that the decoder was built with.
///
/// # Errors
/// A guest that is not there, or of which anything is not as it was installed. Another one never
/// runs in its place.
///
/// # Ambient Authority
/// Opens `path` with the rights of this process.
pub fn chosen(named: Option<&str>, path: &Path) -> Result<Option<(Store, Installed)>, Refusal> {
    if named == Some(EMBEDDED) {
        return Ok(None);
    }
    let Some(store) = Store::open(path)? else {
        let none = |name| no_guest(name, path, None);
        return named.map_or(Ok(None), |name| Err(is_name(name).err().unwrap_or(none(name))));
    };
    let name = match named {
        Some(name) => Some(name.to_owned()),
        None => store.default_guest()?,
    };
    let Some(name) = name else { return Ok(None) };
    let installed = store.guest(&name)?;
    Ok(Some((store, installed)))
}

fn no_guest(name: &str, path: &Path, installed: Option<Vec<String>>) -> Refusal {
    let install = command("install FILE --name", name, path);
    Refusal::NoGuest { name: printable(name), path: path.to_owned(), installed, install }
}

/// A name has no path in it, and nothing that a shell or a terminal minds.
///
/// # Errors
/// What a name looks like.
pub fn is_name(name: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = name.bytes().all(|byte| plain(byte) || b"-_.".contains(&byte))
        && name.bytes().next().is_some_and(plain)
        && name.len() <= MAX_NAME;
    if !good || [EMBEDDED, DEFAULT].contains(&name) {
        return Err(Refusal::NotAName(printable(name)));
    }
    Ok(())
}

fn command(verb: &str, name: &str, path: &Path) -> String {
    let store = match path == Path::new(DEFAULT_STORE) {
        true => String::new(),
        false => format!(" --store {}", path.display()),
    };
    format!("keycell guest {verb} {}{store}", printable(name))
}

/// A regular file of at most `limit` bytes that only its owner can write to, and its length.
fn open_file(
    trust: Trust,
    directory: &OwnedFd,
    path: &Path,
    name: &str,
    limit: u64,
) -> Result<Option<(File, u64)>, Refusal> {
    let path = path.join(name);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let found = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unreadable(&path, error)),
    };
    // Before it is opened: opening a device may do something.
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(not_plain(&path, "file"));
    }
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::LOOP) => return Err(not_plain(&path, "file")),
        Err(error) => return Err(unreadable(&path, error)),
    };
    let found = fstat(&file).map_err(|error| unreadable(&path, error))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(not_plain(&path, "file"));
    }
    nobody_else(trust, &path, &found)?;
    let length = u64::try_from(found.st_size).unwrap_or(u64::MAX);
    if length > limit {
        return Err(Refusal::TooLong { path, limit });
    }
    Ok(Some((File::from(file), length)))
}

/// Nobody but root and the user of this process may write to what is executed.
fn nobody_else(trust: Trust, path: &Path, found: &Stat) -> Result<(), Refusal> {
    trust.allow(path, found).map_err(Refusal::Untrusted)
}

fn not_plain(path: &Path, kind: &'static str) -> Refusal {
    Refusal::Kind { path: path.to_owned(), kind }
}

fn unreadable(path: &Path, error: Errno) -> Refusal {
    Refusal::NotOpened { path: path.to_owned(), error: error.into() }
}

/// A name from a command line, for a message.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control() && *c != '`').take(MAX_NAME).collect()
}
