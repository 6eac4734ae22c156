//! `keycell keygen`: makes a private key.

use std::fmt;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use getrandom::SysRng;
use keycell_diagnostic::hint::RecipientHint;
use keycell_diagnostic::{Diagnostic, os_error};
use ocicrypt::keys::{KeyKind, PrivateKey};
use tempfile::NamedTempFile;

use crate::key_list::line;

/// The arguments of `keycell keygen`.
#[derive(Args)]
pub struct Arguments {
    /// Where to write the private key: PKCS#8 in PEM, which only its owner can read. A file that
    /// exists is never overwritten
    file: PathBuf,
    /// The kind of the key
    #[arg(long = "type", value_name = "TYPE", default_value = "p256")]
    kind: Kind,
    /// Where to write the public key, which is a recipient: `keycell encrypt --recipient jwe:FILE`
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
}

/// The kinds of keys that are made.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// NIST P-256
    P256,
    /// NIST P-384
    P384,
    /// NIST P-521
    P521,
    /// RSA with 3072 bits
    #[value(alias = "rsa")]
    Rsa3072,
    /// RSA with 4096 bits
    Rsa4096,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::P256 => Self::P256,
            Kind::P384 => Self::P384,
            Kind::P521 => Self::P521,
            Kind::Rsa3072 => Self::Rsa { bits: 3072 },
            Kind::Rsa4096 => Self::Rsa { bits: 4096 },
        }
    }
}

/// Makes a key and writes it, and its public key.
///
/// # Errors
/// A file that exists or cannot be written.
pub fn run(arguments: Arguments) -> Result<Outcome> {
    let Arguments { file, kind, public } = arguments;
    if let Some(public) = &public
        && is_same(&file, public)
    {
        return Err(Diagnostic::from(Refusal::SameFile(public.clone())).into());
    }
    let key = PrivateKey::generate(kind.into(), &mut SysRng)?;
    let private = key.to_pkcs8_pem().context("the key could not be encoded")?;
    let private = Unnamed::write(&file, OWNER_ONLY, private.as_bytes())?;
    if let Some(public) = &public {
        Unnamed::write(public, READABLE, key.public_key_pem().as_bytes())?.name()?;
    }
    if let Err(error) = private.name() {
        // The public key alone would be of no use.
        public.iter().for_each(|public| _ = std::fs::remove_file(public));
        return Err(error.into());
    }
    Ok(Outcome { file, key, public })
}

/// Whether both paths name one file, though it is not there yet.
fn is_same(one: &Path, other: &Path) -> bool {
    let whole =
        |path: &Path| Some((directory(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    one == other || whole(one).is_some_and(|one| whole(other) == Some(one))
}

/// The directory of a file.
fn directory(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// What was made.
pub struct Outcome {
    file: PathBuf,
    key: PrivateKey,
    public: Option<PathBuf>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, fingerprint) = (self.key.kind(), self.key.fingerprint());
        writeln!(f, "{}", line(&kind, &fingerprint, &self.file.display()))?;
        match &self.public {
            Some(public) => writeln!(f, "recipient `jwe:{}`", public.display()),
            None => Ok(()),
        }
    }
}

const OWNER_ONLY: u32 = 0o600;

const READABLE: u32 = 0o644;

/// A file that is complete before it gets its name.
struct Unnamed<'a> {
    file: NamedTempFile,
    path: &'a Path,
}

impl<'a> Unnamed<'a> {
    fn write(path: &'a Path, mode: u32, content: &[u8]) -> Result<Self, Diagnostic> {
        let refused = |error| Refusal::NotWritten { path: path.to_owned(), error };
        if path.symlink_metadata().is_ok() {
            return Err(Refusal::Exists(path.to_owned()).into());
        }
        let parent = directory(path);
        parent.metadata().map_err(refused)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".keycell-").permissions(Permissions::from_mode(mode));
        let file = builder.tempfile_in(parent);
        // The text of the whole error names the temporary file.
        let mut file = file.map_err(|error| refused(error.kind().into()))?;
        file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(refused)?;
        Ok(Self { file, path })
    }

    /// Gives the file its name, if no other file has it.
    fn name(self) -> Result<(), Diagnostic> {
        let path = || self.path.to_owned();
        match self.file.persist_noclobber(self.path) {
            Ok(_) => Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Refusal::Exists(path()).into())
            }
            Err(failed) => Err(Refusal::NotWritten { path: path(), error: failed.error }.into()),
        }
    }
}

/// Why a key was not written.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("`{}` exists", .0.display())]
    Exists(PathBuf),
    #[error("`{}` is both the file of the private key and that of the public key", .0.display())]
    SameFile(PathBuf),
    #[error("cannot write `{}`: {}", .path.display(), os_error(.error))]
    NotWritten { path: PathBuf, error: io::Error },
}

impl From<Refusal> for Diagnostic {
    fn from(refusal: Refusal) -> Self {
        let hint = match refusal {
            Refusal::Exists(_) => RecipientHint::KeyExists,
            Refusal::SameFile(_) => RecipientHint::PublicElsewhere,
            Refusal::NotWritten { .. } => RecipientHint::KeyNotWritten,
        };
        Self::new(refusal.to_string(), hint)
    }
}
