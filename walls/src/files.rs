//! The files and other resources outside of the process that can be reached (landlock(7)).

use std::fmt;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, PathFdError,
    RestrictSelf, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::io::Errno;

use crate::error::Error;

/// The newest version that this was tested with, of Linux 6.15. Kernels with older versions enforce
/// less.
const TESTED: ABI = ABI::V7;

/// The resources that a process may still reach.
#[derive(Default)]
pub struct Reach<'a> {
    /// Directories and files that may be read, with everything below them.
    pub readable: Vec<&'a Path>,
    /// Directories and files that may be read, written, created and removed, with everything below them.
    pub writable: Vec<&'a Path>,
    /// Whether readable programs may be run.
    pub programs: bool,
    /// Whether TCP connections may be made.
    pub network: bool,
    /// Whether signals may be sent to processes that are not its own children.
    pub signals: bool,
    /// Whether sockets without a path may be connected to.
    pub abstract_sockets: bool,
}

/// How far a kernel confines a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confined {
    /// The version that is enforced.
    abi: ABI,
    /// The version that the kernel has.
    version: i32,
}

impl Confined {
    /// Whether a file that may only be read cannot be truncated either (Linux 6.2).
    pub fn covers_truncation(&self) -> bool {
        self.abi >= ABI::V3
    }

    fn of(status: LandlockStatus) -> Result<Self, Error> {
        match status {
            LandlockStatus::Available { effective_abi: abi, kernel_abi } => {
                Ok(Self { abi, version: kernel_abi.unwrap_or(abi as i32) })
            }
            LandlockStatus::NotEnabled => Err(Error::LandlockNotEnabled),
            LandlockStatus::NotImplemented => Err(Error::LandlockNotImplemented),
        }
    }
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reaches = match self.abi {
            abi if abi >= ABI::V6 => "files, TCP, signals and abstract sockets",
            abi if abi >= ABI::V4 => {
                "files and TCP; signals and abstract sockets from Linux 6.12 on"
            }
            _ => "files; TCP from Linux 6.7 on, signals and abstract sockets from 6.12 on",
        };
        write!(f, "{reaches} (version {})", self.version)
    }
}

/// Confines the calling thread, and the processes that it starts, to `reach`. Files that are already
/// open stay open. Returns how far this kernel does it.
///
/// # Errors
/// The kernel has no Landlock, or a path in `reach` cannot be opened.
pub fn confine(reach: &Reach<'_>) -> Result<Confined, Error> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let reading = if reach.programs { reading | AccessFs::Execute } else { reading };
    let everything = AccessFs::from_all(TESTED);

    let mut rules =
        Ruleset::default().handle_access(everything).map_err(|error| refused(&error))?;
    if !reach.network {
        rules =
            rules.handle_access(AccessNet::from_all(TESTED)).map_err(|error| refused(&error))?;
    }
    let mut scopes = BitFlags::<Scope>::empty();
    scopes.set(Scope::Signal, !reach.signals);
    scopes.set(Scope::AbstractUnixSocket, !reach.abstract_sockets);
    if !scopes.is_empty() {
        rules = rules.scope(scopes).map_err(|error| refused(&error))?;
    }
    let mut rules = rules.create().map_err(|error| refused(&error))?;
    for (paths, access) in [(&reach.readable, reading), (&reach.writable, everything)] {
        for path in paths {
            let opened = PathFd::new(path).map_err(|error| not_opened(path, &error))?;
            // Only some of the rights apply to a file; the crate leaves out the others.
            rules = rules
                .add_rule(PathBeneath::new(opened, access))
                .map_err(|error| refused(&error))?;
        }
    }
    let status = rules.restrict_self().map_err(|error| refused(&error))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => {
            Err(Confined::of(status.landlock).err().unwrap_or(Error::LandlockNotEnforced))
        }
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => {
            Confined::of(status.landlock)
        }
    }
}

/// Returns how far this kernel could confine a process, without doing it.
///
/// # Errors
/// Why it cannot.
pub fn available() -> Result<Confined, Error> {
    let status = RestrictSelf::default().no_new_privs(false).apply();
    Confined::of(status.map_err(|error| refused(&error))?.landlock)
}

fn not_opened(path: &Path, error: &PathFdError) -> Error {
    match cause(error) {
        Some(error) => Error::Open { path: path.to_owned(), error },
        None => refused(error),
    }
}

fn refused(error: &(dyn std::error::Error + 'static)) -> Error {
    match cause(error) {
        Some(error) => Error::SystemCall { name: "landlock", error },
        None => Error::LandlockRule(error.to_string()),
    }
}

/// The system's error at the end of a chain of the crate's errors.
fn cause(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| error.downcast_ref().and_then(Errno::from_io_error))
}
