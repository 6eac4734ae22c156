//! Which files, and what else outside of the process, can be reached (landlock(7)).

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictSelf,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

/// The newest version that this was tested with, of Linux 6.15. Kernels with less give less.
const TESTED: ABI = ABI::V7;

/// What a process may still reach.
#[derive(Default)]
pub struct Reach<'a> {
    /// Directories and files that may be read, with all below.
    pub readable: Vec<&'a Path>,
    /// Directories and files that may be read, written, made and removed, with all below.
    pub writable: Vec<&'a Path>,
    /// Programs in what is readable may be run.
    pub programs: bool,
    /// TCP connections may be made.
    pub network: bool,
    /// Processes that are not its own children may be sent signals.
    pub signals: bool,
    /// Sockets without a path may be connected to.
    pub abstract_sockets: bool,
}

/// How far a kernel confines a process.
pub struct Confined(LandlockStatus);

impl Confined {
    /// Whether a file that may only be read cannot be truncated either (Linux 6.2).
    pub fn covers_truncation(&self) -> bool {
        matches!(self.0, LandlockStatus::Available { effective_abi, .. } if effective_abi >= ABI::V3)
    }

    /// The same in words.
    pub fn words(self) -> String {
        words(self.0)
    }
}

/// Confines the calling thread, and what it starts, to `reach`. Files that are open already stay
/// so. Returns how far this kernel does it.
///
/// # Errors
/// Where the kernel has no Landlock, or a path in `reach` cannot be opened.
pub fn confine(reach: &Reach<'_>) -> Result<Confined, String> {
    let said = |error: &dyn std::error::Error| {
        let text = error.to_string();
        text.split(" (os error").next().unwrap_or(&text).to_owned()
    };
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let reading = if reach.programs { reading | AccessFs::Execute } else { reading };
    let everything = AccessFs::from_all(TESTED);

    let mut rules = Ruleset::default().handle_access(everything).map_err(|e| said(&e))?;
    if !reach.network {
        rules = rules.handle_access(AccessNet::from_all(TESTED)).map_err(|e| said(&e))?;
    }
    let mut scopes = BitFlags::<Scope>::empty();
    scopes.set(Scope::Signal, !reach.signals);
    scopes.set(Scope::AbstractUnixSocket, !reach.abstract_sockets);
    if !scopes.is_empty() {
        rules = rules.scope(scopes).map_err(|e| said(&e))?;
    }
    let mut rules = rules.create().map_err(|e| said(&e))?;
    for (paths, access) in [(&reach.readable, reading), (&reach.writable, everything)] {
        for path in paths {
            let opened = PathFd::new(path).map_err(|e| said(&e))?;
            // A file takes only some of the rights; the crate leaves out the others.
            rules = rules.add_rule(PathBeneath::new(opened, access)).map_err(|e| said(&e))?;
        }
    }
    let status = rules.restrict_self().map_err(|e| said(&e))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(why_not(status.landlock)),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => {
            Ok(Confined(status.landlock))
        }
    }
}

/// How far this kernel does it, without doing anything.
///
/// # Errors
/// Why it does not.
pub fn available() -> Result<String, String> {
    let status = RestrictSelf::default().no_new_privs(false).apply();
    let status = status.map_err(|error| error.to_string())?.landlock;
    match status {
        LandlockStatus::Available { .. } => Ok(words(status)),
        _ => Err(why_not(status)),
    }
}

fn words(status: LandlockStatus) -> String {
    let LandlockStatus::Available { effective_abi: abi, kernel_abi } = status else {
        return why_not(status);
    };
    let version = kernel_abi.unwrap_or(abi as i32);
    let reaches = match abi {
        _ if abi >= ABI::V6 => "files, TCP, signals and abstract sockets",
        _ if abi >= ABI::V4 => "files and TCP; signals and abstract sockets from Linux 6.12 on",
        _ => "files; TCP from Linux 6.7 on, signals and abstract sockets from 6.12 on",
    };
    format!("{reaches} (version {version})")
}

fn why_not(status: LandlockStatus) -> String {
    match status {
        LandlockStatus::NotEnabled => {
            "the kernel has Landlock, but it was not enabled at boot: add `landlock` to the \
             parameter `lsm=`"
        }
        LandlockStatus::NotImplemented => {
            "this kernel has no Landlock, or a container's filter hides it: it came with Linux \
             5.13, `CONFIG_SECURITY_LANDLOCK`"
        }
        LandlockStatus::Available { .. } => "the kernel does not enforce it",
    }
    .to_owned()
}
