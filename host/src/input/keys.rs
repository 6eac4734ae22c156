//! The configured keys: a directory that the guest may read, or files that the host reads for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use keycell_broker_protocol::Found;
use keycell_core::contract::KeyFile;
use keycell_core::limits;
use keycell_core::sanitize::sanitize;
use keycell_diagnostic::hint::{DecoderHint, UnwrapHint};
use keycell_diagnostic::os_error;
use keycell_keys_directory::{PASSWORD_SUFFIXES, retry_while_replaced};
use ocicrypt::text::printable_to;
use zeroize::Zeroize;

use crate::broker::client::{Broker, BrokerError};
use crate::report::failure::{Failure, ends_a_run};
use crate::report::log::Log;
use crate::unix::regular_file;

/// Why the configured keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// They cannot be read.
    #[error("cannot read the keys in `{}`: {why}", path.display())]
    Unreadable {
        /// Where they are.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The broker cannot tell which files may hold a PIN.
    #[error("cannot tell which files in the keys directory may hold a PIN: {0}")]
    Unsorted(#[from] BrokerError),
}

impl KeysError {
    fn hint(&self) -> DecoderHint {
        match self {
            Self::Unreadable { .. } => DecoderHint::KeysUnreadable,
            // The broker runs, and its message says whether the configuration or the keys are wrong.
            Self::Unsorted(error) => error.hint().unwrap_or(DecoderHint::BrokerRefused),
        }
    }
}

ends_a_run!(KeysError);

/// What the guest can read of the file system; only `unwrap` can.
pub enum Keys {
    /// No path was configured.
    NotConfigured,
    /// The configured path does not exist.
    Missing,
    /// A directory, granted read-only as `/keys`.
    Directory(PathBuf),
    /// One file and its password. The guest gets their bytes, not the directory that contains them.
    Files(Vec<KeyFile>),
    /// What the broker has sorted, if PKCS#11 modules are allowed.
    Sorted {
        /// Keys of other kinds, as bytes for the guest.
        files: Vec<KeyFile>,
        /// Keys in tokens, in a form that may be shown.
        tokens: Vec<String>,
        /// Files that the guest does not get.
        passed_over: PassedOver,
    },
}

impl Keys {
    /// Finds out what `path` is.
    ///
    /// Go ctd-decoder fails if a directory is missing. Keycell treats it as one without keys, because
    /// the payload may carry some.
    ///
    /// # Errors
    /// The path exists but cannot be read.
    ///
    /// # Ambient Authority
    /// Opens `path` with the rights of this process.
    pub fn find(path: Option<&Path>) -> Result<Self, KeysError> {
        let Some(path) = path else { return Ok(Self::NotConfigured) };
        let exists = || std::fs::symlink_metadata(path).is_ok();
        let found = retry_while_replaced(exists, || look(path));
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            found => found.map_err(|error| unreadable(path, os_error(&error))),
        }
    }

    /// Lets the broker sort the keys if PKCS#11 modules are allowed: the guest gets no file that may
    /// hold a PIN. It is an error if the broker cannot tell, because the directory may hold PINs.
    ///
    /// # Errors
    /// Why the broker cannot tell.
    pub fn without_tokens(
        self,
        path: Option<&Path>,
        broker: &mut Broker,
    ) -> Result<Self, KeysError> {
        let (Some(path), Self::Directory(_) | Self::Files(_)) = (path, &self) else {
            return Ok(self);
        };
        let Some(all) = broker.keys(path)? else { return Ok(self) };
        let (mut files, mut tokens, mut passed_over) = (Vec::new(), Vec::new(), Vec::new());
        for found in all {
            match found {
                Found::Token(shown) => tokens.push(shown),
                Found::File { name, content } => {
                    files.push(KeyFile { name, content: content.to_vec() });
                }
                Found::Skipped { name, reason } => {
                    let name = printable_to(&name, MAX_NAME);
                    passed_over.push(sanitize(&format!("`{name}`: {reason}")));
                }
            }
        }
        if let Self::Files(mut files) = self {
            files.iter_mut().for_each(|file| file.content.zeroize()); // they were read a second time by the broker
        }
        Ok(Self::Sorted { files, tokens, passed_over: PassedOver(passed_over) })
    }
}

/// The longest name of a file that was passed over, in characters.
const MAX_NAME: usize = 128;

/// The most passed-over files that a message names. One of them may be the very key that is missing.
const NAMED: usize = 5;

/// Files that the guest does not get, each with the reason.
#[derive(Default)]
pub struct PassedOver(Vec<String>);

impl PassedOver {
    /// Writes a note to the log for each of them.
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

    /// Adds the first of them to the message of a failure of the guest, which does not know about them.
    pub fn add_to(&self, mut failure: Failure) -> Failure {
        let PassedOver(files) = self;
        if !files.is_empty() {
            let named = files.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>();
            failure.diagnostic.message += &format!("; passed over: {}", named.join("; "));
            let more = files.len().saturating_sub(NAMED);
            if more > 0 {
                failure.diagnostic.message += &format!("; and {more} more");
            }
        }
        failure
    }
}

/// What only the host knows about the keys. The guest sees their directory as `/keys`, wherever it is,
/// and cannot tell a missing directory from one that was not configured.
pub struct KeyPath<'a> {
    /// The path, if one was configured.
    pub path: Option<&'a Path>,
    /// Whether it does not exist.
    pub is_missing: bool,
}

impl KeyPath<'_> {
    /// Replaces the guest's names in a failure with those that the operator knows.
    pub fn for_the_operator(&self, mut failure: Failure) -> Failure {
        let diagnostic = &mut failure.diagnostic;
        let asks_for_keys = diagnostic.hints.contains(&UnwrapHint::NoKeyConfigured.into());
        match self.path {
            Some(path) if self.is_missing && asks_for_keys => {
                let hint = DecoderHint::KeysMissing { path: path.to_owned() };
                diagnostic.hints.insert(0, hint.into());
            }
            Some(path) => {
                // The contract passes text in which a guest names the files as it sees them.
                let path = format!("`{}`", path.display());
                diagnostic.message = diagnostic.message.replace("`/keys`", &path);
            }
            None if asks_for_keys => {
                diagnostic.hints.insert(0, DecoderHint::KeysNotConfigured.into());
            }
            None => {}
        }
        failure
    }

    /// The error for a directory that cannot be opened, although it existed a moment ago.
    pub fn cannot_be_opened(&self, error: &wasmtime::Error) -> KeysError {
        let cause = error.root_cause();
        let why = cause.downcast_ref().map_or_else(|| cause.to_string(), os_error);
        unreadable(self.path.unwrap_or(Path::new("/keys")), why)
    }
}

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
    // The operator named this very file, so a symbolic link may lead anywhere.
    let content = read(regular_file::open(path)?)?;
    let name = name.to_string_lossy().into_owned();
    let directory = Dir::open_ambient_dir(parent.unwrap_or(Path::new(".")), ambient_authority());
    let passwords = PASSWORD_SUFFIXES.iter().filter_map(|suffix| {
        let name = format!("{name}{suffix}");
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(regular_file::flags());
        let directory = directory.as_ref().ok()?;
        let file = regular_file::retry_opening(|| directory.open_with(&name, &options)).ok()?;
        let content = read(regular_file::check(file.into_std()).ok()?).ok()?;
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

fn unreadable(path: &Path, why: String) -> KeysError {
    KeysError::Unreadable { path: path.to_owned(), why }
}
