//! The socket of the server: who may use it, and who could have put it there.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use keycell_diagnostic::hint::KeyproviderHint;
use keycell_diagnostic::{Diagnostic, os_error};
use keycell_trusted_path::{self as trusted, Trust};
use rustix::fs::Mode;
use rustix::process::{geteuid, umask};

/// Owner and group may connect, which takes the right to write.
const MODE: u32 = 0o660;

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("`{0}` is not the address of a socket")]
    Address(String),
    #[error("`{}` is in a directory that others can change: {error}", path.display())]
    Directory { path: PathBuf, error: trusted::Error },
    #[error("the directory of `{}` cannot be used: {}", path.display(), os_error(.error))]
    NoDirectory { path: PathBuf, error: io::Error },
    #[error("`{}` exists, and is no socket", .0.display())]
    NoSocket(PathBuf),
    #[error("`{}` is the socket of another user, with the number {owner}", path.display())]
    Owner { path: PathBuf, owner: u32 },
    #[error("a server listens on `{}` already", .0.display())]
    InUse(PathBuf),
    #[error("there is no group `{0}`")]
    Group(String),
    #[error("cannot listen on `{}`: {}", path.display(), os_error(.error))]
    Listen { path: PathBuf, error: io::Error },
    #[error("standard input is no socket: {}", os_error(.0))]
    StandardInput(io::Error),
}

impl From<SocketError> for Diagnostic {
    fn from(error: SocketError) -> Self {
        let hint = match &error {
            SocketError::Address(_) => KeyproviderHint::SocketAddress,
            SocketError::Directory { error, .. } => KeyproviderHint::Protect { fix: error.mend() },
            SocketError::NoSocket(_) | SocketError::Owner { .. } => {
                KeyproviderHint::OtherSocketPath
            }
            SocketError::InUse(_) => KeyproviderHint::OneServer,
            SocketError::Group(_) => KeyproviderHint::NoGroup,
            SocketError::NoDirectory { .. } | SocketError::Listen { .. } => {
                KeyproviderHint::SocketDirectory
            }
            SocketError::StandardInput(_) => KeyproviderHint::SocketActivation,
        };
        Self::new(error.to_string(), hint)
    }
}

/// A socket that listens. The one that this program made is removed with it.
pub struct Socket {
    pub listener: UnixListener,
    /// Its path, device and inode.
    made: Option<(PathBuf, u64, u64)>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another server may have its own there by now.
        if let Some((path, device, inode)) = &self.made
            && let Ok(found) = fs::symlink_metadata(path)
            && (found.dev(), found.ino()) == (*device, *inode)
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl Socket {
    /// Listens at `address`.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn open(address: &str, group: Option<&str>) -> Result<Self, SocketError> {
        if address == "systemd" {
            return Self::of_systemd();
        }
        let path =
            address.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
        let path = path.filter(|path| !path.is_empty() && !path.starts_with('@'));
        let path = PathBuf::from(path.ok_or_else(|| SocketError::Address(address.to_owned()))?);
        let path = std::path::absolute(&path)
            .map_err(|error| SocketError::NoDirectory { path: path.clone(), error })?;
        let group = group.map(|name| number(name).ok_or(SocketError::Group(name.to_owned())));
        let group = group.transpose()?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        Trust::of_this_process().open_directory(directory).map_err(|error| match error {
            trusted::Error::Unreadable { error, .. } => {
                SocketError::NoDirectory { path: path.clone(), error }
            }
            error => SocketError::Directory { path: path.clone(), error },
        })?;
        remove_stale(&path)?;
        let failed = |error| SocketError::Listen { path: path.clone(), error };
        // Nobody else can connect before the socket has its group and its mode.
        let before = umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(&path);
        umask(before);
        let listener = listener.map_err(failed)?;
        let found = fs::symlink_metadata(&path).map_err(failed)?;
        let made = Some((path.clone(), found.dev(), found.ino()));
        let socket = Self { listener, made };
        if group.is_some() {
            chown(&path, None, group).map_err(failed)?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        Ok(socket)
    }

    /// systemd has made the socket, with the owner and the mode of its unit.
    fn of_systemd() -> Result<Self, SocketError> {
        let descriptor = rustix::stdio::stdin().try_clone_to_owned();
        let listener = UnixListener::from(descriptor.map_err(SocketError::StandardInput)?);
        listener.local_addr().map_err(SocketError::StandardInput)?;
        Ok(Self { listener, made: None })
    }
}

/// Removes the socket of a server of this user that has ended.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |error| SocketError::Listen { path: path.to_owned(), error };
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed)?,
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(SocketError::Owner { path: path.to_owned(), owner: found.uid() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        _ => Err(SocketError::InUse(path.to_owned())),
    }
}

/// The number of a group.
fn number(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}
