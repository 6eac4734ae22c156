//! The walls around code that is not ours: a process that loads a PKCS#11 module, and a key provider's
//! command.
//!
//! A module is a vendor's native code, and the operator allows it by its path. Only its vendor knows
//! which files, devices, daemons and networks it uses. So by default it keeps access to those, except
//! for [`HIDDEN`] and for writing to [`READ_ONLY`]. If the operator names the module's files, it has
//! access to no others. A command may be a script that calls `sudo`, so it has walls only if its files
//! are named.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use crate::error::Error;
use crate::files::{Reach, confine};
use crate::memory;
use crate::rights::{keep, no_new_privileges};
use crate::seccomp::Filter;

/// The directories and files of libraries, and those that libraries read when they start. Of `/etc/ssl`
/// and `/etc/pki`, only public files are included.
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

/// Devices that every module and command may use.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

/// Files that a module can access only if the operator names them.
pub const HIDDEN: [&str; 7] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
];

/// The kernel's own files. Being able to write to some of them is equivalent to running a program as
/// root.
pub const READ_ONLY: [&str; 2] = ["/proc", "/sys"];

/// Puts up the walls that this kernel provides: a node that can decrypt without them must not fail
/// because of a module. `files` are the files that a module may use in addition to the system's
/// libraries. `None` stands for everything that this user may use, except for [`HIDDEN`] and for
/// writing to [`READ_ONLY`].
///
/// # Errors
/// The process cannot be confined to `files`, which the operator asked for.
pub fn around_module(module: &Path, files: Option<&[PathBuf]>) -> Result<(), Error> {
    around(module, files, false)
}

/// Puts up the same walls around a command that this process becomes. It may run the system's programs,
/// and those in the directory of `program`.
///
/// # Errors
/// As [`around_module`].
pub fn around_command(program: &Path, files: &[PathBuf]) -> Result<(), Error> {
    around(program, Some(files), true)
}

fn around(what: &Path, files: Option<&[PathBuf]>, programs: bool) -> Result<(), Error> {
    let _ = no_new_privileges();
    // It loses its rights over the node's hardware, kernel, network and other processes; over files it
    // stays root.
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

/// Confines the process to `files`, the system's libraries, and the directory of `what`.
fn confine_to(what: &Path, files: &[PathBuf], programs: bool) -> Result<(), Error> {
    let there = |path: &&str| Path::new(path).exists();
    let readable = SYSTEM.iter().copied().filter(there).map(Path::new);
    let devices = DEVICES.iter().copied().filter(there).map(Path::new);
    let reach = Reach {
        // This includes libraries that a vendor puts into the same directory.
        readable: readable.chain(what.parent()).collect(),
        writable: files.iter().map(PathBuf::as_path).chain(devices).collect(),
        programs,
        network: true,
        abstract_sockets: true,
        ..Reach::default()
    };
    confine(&reach).map(drop)
}

/// Confines the process to everything except [`HIDDEN`] and block devices, with [`READ_ONLY`] only for
/// reading, and without signals to others. If the kernel has no Landlock, a module whose needs are
/// unknown still works, unconfined.
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

/// Lists the entries of `directory`, except for hidden, read-only and block device files. A directory
/// that contains something hidden, and `/dev`, are listed by their entries. Symbolic links are left
/// out: their targets are listed themselves, or are hidden.
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
