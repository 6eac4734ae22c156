//! The walls around what is not ours: a process that a PKCS#11 module is loaded into, and a key
//! provider's command.
//!
//! A module is a vendor's native code, and the operator allows it by its path. Which files, devices,
//! daemons and networks it talks to is known to its vendor alone, so by default it keeps those, and
//! loses what none of them needs. Where the operator names the module's files, it gets Landlock too.
//! A command may be a script that calls `sudo`, so it has walls only where its files are named.

use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use crate::files::{Reach, confine};
use crate::memory;
use crate::rights::{keep, no_new_privileges};
use crate::seccomp::Filter;

/// Where libraries, and what they read at their start, are.
const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/resolv.conf",
];

/// Devices that everything may use.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

/// Puts them up, as far as this kernel gives them: a node that can decrypt without them must not
/// stop to do so because of a module. `files` are what a module may use besides the system's
/// libraries, or `None` for everything that this user may use.
///
/// # Errors
/// Where one of `files` cannot be confined to: the operator asked for it.
pub fn around_module(module: &Path, files: Option<&[PathBuf]>) -> Result<(), String> {
    around(module, files, false)
}

/// The same around a command that this process becomes: it may run the system's programs, and what
/// lies beside `program`.
///
/// # Errors
/// As [`around_module`].
pub fn around_command(program: &Path, files: &[PathBuf]) -> Result<(), String> {
    around(program, Some(files), true)
}

fn around(what: &Path, files: Option<&[PathBuf]>, programs: bool) -> Result<(), String> {
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
    if let Some(files) = files {
        let there = |path: &&str| Path::new(path).exists();
        let readable = SYSTEM.iter().copied().filter(there).map(Path::new);
        let devices = DEVICES.iter().copied().filter(there).map(Path::new);
        confine(&Reach {
            // With the libraries that a vendor puts beside it.
            readable: readable.chain(what.parent()).collect(),
            writable: files.iter().map(PathBuf::as_path).chain(devices).collect(),
            programs,
            network: true,
            abstract_sockets: true,
            ..Reach::default()
        })?;
    }
    let _ = Filter::module().and_then(|filter| filter.raise());
    Ok(())
}
