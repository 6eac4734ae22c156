//! Finds out who else can read or change the keys, in order to warn the operator. It checks only owners
//! and modes, and opens nothing except the directory.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use keycell_trusted_path::{Error, Trust, Word};
use ocicrypt::text::printable;

/// The bits of a mode that let everyone enter a directory or read.
const PASS: u32 = 0o001;
const READ: u32 = 0o004;

/// A warning for the operator about the keys.
#[derive(Clone, Debug)]
pub struct Warning {
    /// What is wrong.
    pub what: String,
    /// How to fix it.
    pub fix: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.fix)
    }
}

/// Whether `name` leads to something in the directory `keys` from the guest's point of view: symbolic
/// links are followed only inside the directory.
///
/// # Ambient Authority
/// Opens `keys`.
pub fn is_inside(keys: &Path, name: &str) -> bool {
    let directory = Dir::open_ambient_dir(keys, ambient_authority());
    directory.is_ok_and(|directory| directory.metadata(name).is_ok())
}

/// What is known about the path of the keys before a guest runs.
pub struct KeyPermissions {
    /// The absolute path, because the working directory cannot be looked up behind the walls.
    keys: PathBuf,
    trust: Trust,
    directory: Option<Warning>,
}

impl KeyPermissions {
    /// Checks `keys`, a directory or one key file, and everything above it. It returns None if the
    /// working directory no longer exists.
    ///
    /// # Ambient Authority
    /// Reads owners and modes with the rights of this process.
    pub fn of(keys: &Path) -> Option<Self> {
        let keys = std::path::absolute(keys).ok()?;
        let trust = Trust::of_this_process();
        let checked = trust.check(&keys);
        let directory = checked.err().and_then(|error| changeable(&error, "the keys of this node"));
        Some(Self { keys, trust, directory })
    }

    /// A warning if others than root and the decoder's user can change which keys are there.
    pub fn directory(&self) -> Option<&Warning> {
        self.directory.as_ref()
    }

    /// Returns the warnings about the key `name` in the directory, or about the single key file. `name`
    /// may come from a guest; it cannot lead out of the directory.
    ///
    /// # Ambient Authority
    /// Reads owners and modes with the rights of this process.
    pub fn of_key(&self, name: &str) -> Vec<Warning> {
        self.readable(name).into_iter().chain(self.changeable(name)).collect()
    }

    /// Returns all warnings in one line for the log.
    pub fn warning(&self, name: &str) -> Option<String> {
        let warnings = self.directory.clone().into_iter().chain(self.of_key(name));
        let lines: Vec<_> = warnings.map(|warning| warning.to_string()).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// Whether others can change the file of one key, although they cannot write to its directory.
    fn changeable(&self, name: &str) -> Option<Warning> {
        let is_normal =
            |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        let is_below = Path::new(name).components().all(is_normal);
        if self.directory.is_some() || !is_below || !is_inside(&self.keys, name) {
            return None;
        }
        let error = self.trust.check(&self.keys.join(name)).err()?;
        changeable(&error, &format!("the key `{}`", printable(name)))
    }

    /// Whether everyone can read the key.
    ///
    /// A mounted Kubernetes Secret has mode 0644 by default, but is below a directory that only root
    /// may enter, so there is no warning for it.
    fn readable(&self, name: &str) -> Option<Warning> {
        let keys = &self.keys;
        let has = |path: &Path, bits| {
            fs::metadata(path).is_ok_and(|it| it.permissions().mode() & bits != 0)
        };
        if !keys.ancestors().skip(1).all(|directory| has(directory, PASS)) {
            return None;
        }
        let is_readable = if keys.is_dir() {
            let directory = Dir::open_ambient_dir(keys, ambient_authority()).ok()?;
            has(keys, PASS) && directory.metadata(name).is_ok_and(|found| found.mode() & READ != 0)
        } else {
            has(keys, READ)
        };
        let path = if keys.is_dir() { keys.join(name) } else { keys.clone() };
        is_readable.then(|| Warning {
            what: format!("everyone on this node may read the key `{}`", printable(name)),
            fix: format!("`chmod 600 {}`", Word(&path)),
        })
    }
}

fn changeable(error: &Error, what: &str) -> Option<Warning> {
    error.is_distrust().then(|| Warning {
        what: format!("{error}, so others can change {what}"),
        fix: error.mend(),
    })
}
