//! `--verify-first`: the encrypted layer is read and checked completely before its first byte is
//! written. So even a reader that ignores exit codes gets nothing of a layer that is not genuine.
//!
//! The spool holds ciphertext. It is a file without a name (or memory), so no other process opens it.
//! It is checked again while it is decrypted, so anyone who could change it (root) achieves only a
//! failure.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::os_error;
use keycell_settings::SpoolSettings;
use ocicrypt::layer::{CHUNK, Decryptor, LayerError, LayerKey};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::report::failure::{Ending, ends_a_run};

use super::layer::EncryptedLayer;

/// Why the spool cannot keep a layer.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The system refuses an operation.
    #[error("{} cannot {what}: {}", shown(.directory.as_deref()), os_error(.error))]
    System {
        /// What the spool cannot do.
        what: &'static str,
        /// Its directory; `None` if it is in memory.
        directory: Option<PathBuf>,
        /// Why.
        error: io::Error,
    },
    /// The layer is longer than the limit.
    #[error("the layer is longer than the {limit} MiB that the spool takes")]
    TooLong {
        /// The limit, in MiB.
        limit: u64,
    },
}

impl SpoolError {
    fn new(what: &'static str, settings: &SpoolSettings, error: io::Error) -> Self {
        Self::System { what, directory: settings.directory.clone(), error }
    }

    fn hint(&self) -> DecoderHint {
        match self {
            Self::System { error, .. } if error.kind() == io::ErrorKind::FileTooLarge => {
                DecoderHint::FileSizeLimit
            }
            Self::System { directory: Some(_), .. } => DecoderHint::SpoolDirectory,
            Self::System { directory: None, .. } => DecoderHint::SpoolInMemory,
            Self::TooLong { .. } => DecoderHint::SpoolLimit,
        }
    }
}

ends_a_run!(SpoolError);

fn shown(directory: Option<&Path>) -> String {
    match directory {
        Some(directory) => format!("the spool in `{}`", directory.display()),
        None => "the spool in memory".to_owned(),
    }
}

/// An empty spool.
pub struct Spool {
    file: File,
    settings: SpoolSettings,
}

impl Spool {
    /// Makes a spool that no other process can open.
    ///
    /// # Errors
    /// The directory does not exist, or no file can be made in it.
    ///
    /// # Ambient Authority
    /// Writes to the directory with the rights of this process.
    pub fn make(settings: &SpoolSettings) -> Result<Self, SpoolError> {
        let file = match &settings.directory {
            Some(directory) => nameless(directory),
            None => rustix::fs::memfd_create("keycell-spool", MemfdFlags::CLOEXEC),
        };
        let file = file.map_err(|error| SpoolError::new("be made", settings, error.into()))?;
        Ok(Self { file: file.into(), settings: settings.clone() })
    }

    /// Reads all of `input`, and checks `keys` on it. Returns the layer, to be read from the spool, and the
    /// indices of the keys that verify.
    ///
    /// # Errors
    /// The layer is not genuine or too long, or it cannot be read or kept.
    pub fn fill(
        mut self,
        input: EncryptedLayer,
        keys: &[LayerKey],
    ) -> Result<(EncryptedLayer, Vec<usize>), Ending> {
        let mut left = self.settings.limit.saturating_mul(1024 * 1024);
        let verified = check(input, keys, |piece| {
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or(SpoolError::TooLong { limit: self.settings.limit })?;
            let written = self.file.write_all(piece);
            Ok::<_, Ending>(
                written
                    .map_err(|error| SpoolError::new("take the layer", &self.settings, error))?,
            )
        })?;
        self.file.rewind().map_err(|error| SpoolError::new("be read", &self.settings, error))?;
        Ok((EncryptedLayer::of_spool(self.file), verified))
    }
}

/// Returns which of `keys` open the layer in `blob`: all whose HMAC and sealed digest match.
///
/// # Errors
/// No key opens it, or the blob cannot be read.
pub fn which_verify(blob: impl Read, keys: &[LayerKey]) -> Result<Vec<usize>, LayerError> {
    check(blob, keys, |_| Ok(()))
}

/// Reads `layer` to its end, tries each key on it, and returns all that verify. `keep` gets every piece
/// that some key may still open.
fn check<E: From<LayerError>>(
    mut layer: impl Read,
    keys: &[LayerKey],
    mut keep: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Vec<usize>, E> {
    let mut checks: Vec<_> = keys.iter().map(Check::new).collect();
    let (mut piece, mut plain) = (vec![0; CHUNK], Zeroizing::new(vec![0; CHUNK]));
    loop {
        let length = match layer.read(&mut piece) {
            Ok(0) => return Ok(verified(checks)?),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(LayerError::from(error).into()),
        };
        for check in &mut checks {
            plain[..length].copy_from_slice(&piece[..length]);
            check.update(&mut plain[..length]);
        }
        if let Some(error) = hopeless(&mut checks) {
            return Err(error.into());
        }
        keep(&piece[..length])?;
    }
}

/// The state of the check with one key.
struct Check {
    decryptor: Decryptor,
    /// How many bytes may still follow, if the length is known.
    left: Option<u64>,
    length: u64,
    error: Option<LayerError>,
}

impl Check {
    fn new(key: &LayerKey) -> Self {
        let (left, length) = (key.length(), key.length().unwrap_or(u64::MAX));
        Self { decryptor: Decryptor::new(key), left, length, error: None }
    }

    /// Takes the next piece, and decrypts it in place.
    fn update(&mut self, piece: &mut [u8]) {
        if let Some(left) = self.left {
            self.left = left.checked_sub(piece.len() as u64);
            if self.left.is_none() {
                self.error.get_or_insert(LayerError::TooLong { length: self.length });
            }
        }
        if self.error.is_none() {
            self.decryptor.update(piece);
        }
    }

    fn finish(self) -> Result<(), LayerError> {
        self.error.map_or_else(|| self.decryptor.finish(), Err)
    }
}

/// Returns the reason if no key can open the layer any more.
fn hopeless(checks: &mut [Check]) -> Option<LayerError> {
    let all = checks.iter().all(|check| check.error.is_some());
    checks.first_mut().filter(|_| all)?.error.take()
}

/// Returns all keys that verify, or the first reason why none does.
fn verified(checks: Vec<Check>) -> Result<Vec<usize>, LayerError> {
    let (mut verified, mut first) = (Vec::new(), None);
    for (index, check) in checks.into_iter().enumerate() {
        match check.finish() {
            Ok(()) => verified.push(index),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    if verified.is_empty() { Err(first.unwrap_or(LayerError::HmacMismatch)) } else { Ok(verified) }
}

/// Makes a file that never had a name, or has none any more.
fn nameless(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    // With `EXCL`, the file cannot be given a name later.
    let file = rustix::fs::openat(CWD, directory, flags | OFlags::TMPFILE | OFlags::EXCL, mode);
    match file {
        // The file system does not support files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let path = directory.join(format!("keycell-spool-{}", std::process::id()));
            let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let file = rustix::fs::openat(CWD, &path, flags, mode)?;
            rustix::fs::unlink(&path)?;
            Ok(file)
        }
        file => file,
    }
}
