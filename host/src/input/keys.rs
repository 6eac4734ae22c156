//! The configured keys: a directory that the guest may read, or files that the host reads for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use keycell_broker_protocol::Found;
use ocicrypt::text::printable_to;
use zeroize::Zeroize;

use crate::broker::Broker;
use crate::cleaned::cleaned;
use crate::contract::{Failure, KeyFile};
use crate::failures::{plain, with_hint};
use crate::log::Log;
use crate::{limits, regular};

/// Passwords lie beside their key under its name and one of these.
const PASSWORD_SUFFIXES: [&str; 2] = [".pass", ".password"];

/// How often is looked again at a file that was just there, as the guest does in a directory: one
/// of a mounted Secret is a link, and what it leads to is exchanged.
const EXCHANGES: usize = 16;

/// What of the file system the guest gets to see, in `unwrap` alone.
pub enum Keys {
    /// No path was configured.
    NotConfigured,
    /// What was configured is not there.
    Missing,
    /// A directory, granted read-only as `/keys`.
    Directory(PathBuf),
    /// One file and its password: the guest gets their bytes, not the directory that they lie in.
    Files(Vec<KeyFile>),
    /// What the broker has sorted, where PKCS#11 modules are allowed.
    Sorted {
        /// Keys of other kinds, as bytes for the guest.
        files: Vec<KeyFile>,
        /// Keys in tokens, as they may be shown.
        tokens: Vec<String>,
        /// What the guest does not get.
        passed_over: PassedOver,
    },
}

impl Keys {
    /// Looks at what `path` is.
    ///
    /// Go ctd-decoder fails on a directory that is missing; to Keycell it holds no keys, because
    /// the payload may carry some.
    ///
    /// # Errors
    /// A path that is there but cannot be read.
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn find(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::NotConfigured) };
        let mut found = look(path);
        for _ in 0..EXCHANGES {
            let is_there = || std::fs::symlink_metadata(path).is_ok();
            match &found {
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_there() => {
                    found = look(path);
                }
                _ => break,
            }
        }
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            found => found.map_err(|error| unreadable(path, &plain(&error))),
        }
    }

    /// Has the broker sort the keys, where PKCS#11 modules are allowed: no file that may hold a PIN is
    /// for the guest. A broker that cannot tell is an error, because the directory may hold some.
    ///
    /// # Errors
    /// Why the broker cannot tell.
    pub fn without_tokens(self, path: Option<&Path>, broker: &mut Broker) -> Result<Self, Failure> {
        let (Some(path), Self::Directory(_) | Self::Files(_)) = (path, &self) else {
            return Ok(self);
        };
        let Some(all) = broker.keys(path).map_err(unsorted)? else { return Ok(self) };
        let (mut files, mut tokens, mut passed_over) = (Vec::new(), Vec::new(), Vec::new());
        for found in all {
            match found {
                Found::Token(shown) => tokens.push(shown),
                Found::File { name, content } => {
                    files.push(KeyFile { name, content: content.to_vec() });
                }
                Found::Skipped { name, reason } => {
                    let name = printable_to(&name, MAX_NAME);
                    passed_over.push(cleaned(&format!("`{name}`: {reason}")));
                }
            }
        }
        if let Self::Files(mut files) = self {
            files.iter_mut().for_each(|file| file.content.zeroize()); // read a second time
        }
        Ok(Self::Sorted { files, tokens, passed_over: PassedOver(passed_over) })
    }
}

/// The longest name of a file that was passed over, in characters.
const MAX_NAME: usize = 128;

/// Files that were passed over, and that a message names: they may be the very key that is missing.
const NAMED: usize = 5;

/// Files that the guest does not get, each with the reason.
#[derive(Default)]
pub struct PassedOver(Vec<String>);

impl PassedOver {
    /// Writes them to the log, a note each.
    pub fn note(&self, log: &Log) {
        let PassedOver(files) = self;
        files.iter().take(limits::GUEST_LINES).for_each(|file| {
            log.note(&format!("passed over {file}"));
        });
        let more = files.len().saturating_sub(limits::GUEST_LINES);
        if more > 0 {
            log.note(&format!("passed over {more} files more"));
        }
    }

    /// Adds the first of them to the message of a failure of the guest, which does not know of them.
    pub fn tell(&self, mut failure: Failure) -> Failure {
        let PassedOver(files) = self;
        if !files.is_empty() {
            let named = files.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>();
            failure.message += &format!("; passed over: {}", named.join("; "));
            let more = files.len().saturating_sub(NAMED);
            if more > 0 {
                failure.message += &format!("; and {more} more");
            }
        }
        failure
    }
}

/// What only the host knows of the keys: the guest calls their directory `/keys`, wherever it
/// lies, and cannot tell a directory that is missing from one that was not configured.
pub struct KeyPath<'a> {
    /// The path, if one was configured.
    pub path: Option<&'a Path>,
    /// It does not exist.
    pub is_missing: bool,
}

impl KeyPath<'_> {
    /// A failure of the guest in words that the operator knows.
    pub fn for_the_operator(&self, mut failure: Failure) -> Failure {
        let asks_for_keys = failure.hints.iter().any(|hint| hint.contains(FLAG));
        match self.path {
            Some(path) if self.is_missing && asks_for_keys => {
                let hint = format!("`{}`, which `{FLAG}` names, does not exist", path.display());
                failure.hints.insert(0, hint);
            }
            Some(path) => {
                let path = format!("`{}`", path.display());
                failure.message = failure.message.replace("`/keys`", &path);
            }
            None if asks_for_keys => {
                failure.hints.insert(0, format!("`{FLAG}` was not given"));
            }
            None => {}
        }
        failure
    }

    /// The directory was there a moment ago.
    pub fn cannot_be_opened(&self, error: &wasmtime::Error) -> Failure {
        let cause = error.root_cause();
        let why = cause.downcast_ref().map_or_else(|| cause.to_string(), plain);
        unreadable(self.path.unwrap_or(Path::new("/keys")), &why)
    }
}

/// The flag that names the keys.
const FLAG: &str = "--decryption-keys-path";

fn look(path: &Path) -> io::Result<Keys> {
    match std::fs::metadata(path)? {
        found if found.is_dir() => Ok(Keys::Directory(path.to_owned())),
        found if found.is_file() => read_files(path),
        _ => Err(io::Error::other("neither a directory nor a file")),
    }
}

fn read_files(path: &Path) -> io::Result<Keys> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // The operator named this very file, so a link may lead anywhere.
    let content = read(regular::open(path)?)?;
    let name = name.to_string_lossy().into_owned();
    let directory = Dir::open_ambient_dir(parent.unwrap_or(Path::new(".")), ambient_authority());
    let passwords = PASSWORD_SUFFIXES.iter().filter_map(|suffix| {
        let name = format!("{name}{suffix}");
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(regular::flags());
        let directory = directory.as_ref().ok()?;
        let file = regular::patiently(|| directory.open_with(&name, &options)).ok()?;
        let content = read(regular::checked(file.into_std()).ok()?).ok()?;
        Some(KeyFile { name, content })
    });
    let passwords = passwords.collect::<Vec<_>>();
    Ok(Keys::Files([vec![KeyFile { name, content }], passwords].concat()))
}

fn read(file: std::fs::File) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(file.metadata()?.len().min(limits::KEY_FILE) as usize + 1);
    file.take(limits::KEY_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limits::KEY_FILE {
        return Err(io::Error::other("larger than 1 MiB, so no private key"));
    }
    Ok(content)
}

fn unsorted(why: String) -> Failure {
    with_hint(
        format!("cannot tell which files in the keys directory may hold a PIN: {why}"),
        "`keycell-broker` belongs beside `ctd-decoder`; where no PKCS#11 token is used, remove \
         `OCICRYPT_CONFIG` and `/etc/ocicrypt.conf`",
    )
}

fn unreadable(path: &Path, why: &str) -> Failure {
    with_hint(
        format!("cannot read the keys in `{}`: {why}", path.display()),
        "`--decryption-keys-path` is the directory with the private keys, or one key file; the \
         decoder runs as the user that containerd runs as",
    )
}
