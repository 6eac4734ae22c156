//! The walls around what is not ours: a process that a PKCS#11 module is loaded into, and a key
//! provider's command.
//!
//! A module is a vendor's native code, and the operator allows it by its path. Which files, devices,
//! daemons and networks it talks to is known to its vendor alone, so by default it keeps those, but for
//! [`HIDDEN`] and for writing to [`READ_ONLY`]. Where the operator names the module's files, it has no others.
//! A command may be a script that calls `sudo`, so it has walls only where its files are named.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use crate::error::Error;
use crate::files::{Reach, confine};
use crate::memory;
use crate::rights::{keep, no_new_privileges};
use crate::seccomp::Filter;

/// Where libraries, and what they read at their start, are. Of `/etc/ssl` and `/etc/pki` only what is public.
pub const SYSTEM: [&str; 17] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/crypto-policies",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/resolv.conf",
];

/// Devices that everything may use.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

/// What a module has only where the operator names it.
pub const HIDDEN: [&str; 7] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
];

/// The kernel's own files: writing to some of them is as good as running a program as root.
pub const READ_ONLY: [&str; 2] = ["/proc", "/sys"];

/// Puts them up, as far as this kernel gives them: a node that can decrypt without them must not
/// stop to do so because of a module. `files` are what a module may use besides the system's
/// libraries, or `None` for what this user may use, but for [`HIDDEN`] and for writing to [`READ_ONLY`].
///
/// # Errors
/// Where one of `files` cannot be confined to: the operator asked for it.
pub fn around_module(module: &Path, files: Option<&[PathBuf]>) -> Result<(), Error> {
    around(module, files, false)
}

/// The same around a command that this process becomes: it may run the system's programs, and what
/// lies beside `program`.
///
/// # Errors
/// As [`around_module`].
pub fn around_command(program: &Path, files: &[PathBuf]) -> Result<(), Error> {
    around(program, Some(files), true)
}

fn around(what: &Path, files: Option<&[PathBuf]>, programs: bool) -> Result<(), Error> {
    let _ = no_new_privileges();
    // Not over a node's hardware, kernel, network or other processes; over files it stays root.
    let _ = keep(
        CapabilitySet::DAC_OVERRIDE
            | CapabilitySet::DAC_READ_SEARCH
            | CapabilitySet::CHOWN
            | CapabilitySet::FOWNER
            | CapabilitySet::FSETID
            | CapabilitySet::SETUID
            | CapabilitySet::SETGID
            | CapabilitySet::IPC_LOCK
            | CapabilitySet::IPC_OWNER
            | CapabilitySet::NET_BIND_SERVICE,
    );
    let _ = memory::no_dump();
    match files {
        Some(files) => confine_to(what, files, programs)?,
        None => confine_by_default(),
    }
    let _ = Filter::module().and_then(|filter| filter.raise());
    Ok(())
}

/// To `files`, the system's libraries, and what lies beside `what`.
fn confine_to(what: &Path, files: &[PathBuf], programs: bool) -> Result<(), Error> {
    let there = |path: &&str| Path::new(path).exists();
    let readable = SYSTEM.iter().copied().filter(there).map(Path::new);
    let devices = DEVICES.iter().copied().filter(there).map(Path::new);
    let reach = Reach {
        // With the libraries that a vendor puts beside it.
        readable: readable.chain(what.parent()).collect(),
        writable: files.iter().map(PathBuf::as_path).chain(devices).collect(),
        programs,
        network: true,
        abstract_sockets: true,
        ..Reach::default()
    };
    confine(&reach).map(drop)
}

/// To everything but [`HIDDEN`] and block devices, with [`READ_ONLY`] to read, and without signals to others. A module of which nobody knows
/// what it needs also works where the kernel has no Landlock.
fn confine_by_default() {
    let mut files = vec![Path::new("/proc").join(std::process::id().to_string())];
    list_what_is_not_hidden(Path::new("/"), &mut files);
    let reach = Reach {
        readable: READ_ONLY.iter().map(Path::new).filter(|path| path.exists()).collect(),
        writable: files.iter().map(PathBuf::as_path).filter(|path| path.exists()).collect(),
        programs: true,
        network: true,
        signals: false,
        abstract_sockets: true,
    };
    let _ = confine(&reach);
}

/// What lies in `directory`, but for what is hidden or read-only; a directory that holds something hidden, and
/// `/dev`, by what lies in it. Links are left out: they lead to what is listed itself, or is hidden.
fn list_what_is_not_hidden(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        let holds_hidden = || HIDDEN.iter().any(|hidden| Path::new(hidden).starts_with(&path));
        if HIDDEN.iter().chain(&READ_ONLY).any(|other| path == Path::new(other))
            || !kind.is_ok_and(|kind: FileType| !kind.is_symlink() && !kind.is_block_device())
        {
            continue;
        }
        if holds_hidden() || path == Path::new("/dev") {
            list_what_is_not_hidden(&path, files);
        } else {
            files.push(path);
        }
    }
}
