//! Keys that everyone on the node may read, which the operator should know of. Nothing is opened
//! but the directory: only modes are looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use ocicrypt::text::printable;

/// The bits of a mode that let everyone in, or read.
const PASS: u32 = 0o001;
const READ: u32 = 0o004;

/// Whether `name` leads to something in the directory `keys` as the guest sees it: links are
/// followed inside of the directory alone.
///
/// # Ambient Authority
/// Opens `keys`.
pub fn is_inside(keys: &Path, name: &str) -> bool {
    let directory = Dir::open_ambient_dir(keys, ambient_authority());
    directory.is_ok_and(|directory| directory.metadata(name).is_ok())
}

/// A warning if everyone may read the key `name` in the directory `keys`, or the key file `keys`.
/// `name` may come from a guest: it does not lead out of the directory.
///
/// A mounted Kubernetes Secret is mode 0644 by default, but lies below a directory that only root
/// may enter: that is no reason to warn.
///
/// # Ambient Authority
/// Looks at the modes of `keys` and of the directories that it lies in.
pub fn warning(keys: &Path, name: &str) -> Option<String> {
    let keys = std::path::absolute(keys).ok()?;
    let has =
        |path: &Path, bits| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & bits != 0);
    if !keys.ancestors().skip(1).all(|directory| has(directory, PASS)) {
        return None;
    }
    let is_readable = if keys.is_dir() {
        let directory = Dir::open_ambient_dir(&keys, ambient_authority()).ok()?;
        has(&keys, PASS) && directory.metadata(name).is_ok_and(|found| found.mode() & READ != 0)
    } else {
        has(&keys, READ)
    };
    is_readable.then(|| {
        let name = printable(name);
        format!("everyone on this node may read the key `{name}`: `chmod 600` it")
    })
}
