//! Finds out which walls this kernel provides, without putting one up.

use std::fs;

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use crate::error::{Error, failed};
use crate::wall::{Extent, Wall};
use crate::{files, memory};

/// Returns the walls that the decoder would have if it ran here and now, as this user: one entry for
/// each, in the order in which they are put up, with the reason if one is missing. It changes nothing,
/// and takes well under a millisecond.
///
/// ```
/// for wall in keycell_walls::probe() {
///     match wall.missing() {
///         None => println!("{}: there", wall.name),
///         Some(why) => println!("{}: {why}", wall.name),
///     }
/// }
/// ```
pub fn probe() -> Vec<Wall> {
    let privileges =
        rustix::thread::no_new_privs().map(|_| Extent::Available).map_err(failed("prctl"));
    let capabilities = rustix::thread::capabilities(None);
    let permitted = capabilities.map_or(CapabilitySet::empty(), |sets| sets.permitted);
    vec![
        Wall::required(crate::decoder::NO_NEW_PRIVILEGES, privileges),
        Wall::required(crate::decoder::NO_DUMP, Ok(Extent::Available)),
        Wall::required(crate::decoder::LIMITS, Ok(Extent::Available)),
        Wall::optional(crate::decoder::NO_SWAP, locking(permitted)),
        Wall::required(
            crate::decoder::CAPABILITIES,
            capabilities.map(|_| Extent::Available).map_err(failed("capget")),
        ),
        Wall::required(crate::decoder::FILES, files::available().map(Extent::Landlock)),
        Wall::required(crate::decoder::CALLS, filters()),
    ]
}

fn locking(permitted: CapabilitySet) -> Result<Extent, Error> {
    let unlimited = rustix::process::getrlimit(Resource::Memlock).current.is_none();
    let able = CapabilitySet::IPC_LOCK | CapabilitySet::SYS_RESOURCE;
    if unlimited || permitted.intersects(able) || memory::nothing_to_swap_to() {
        return Ok(Extent::Available);
    }
    Err(Error::NoRightToLock)
}

/// The actions that filters may take (seccomp(2), `/proc`).
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

fn filters() -> Result<Extent, Error> {
    if let Ok(actions) = fs::read_to_string(ACTIONS) {
        let has = |action| actions.split_whitespace().any(|there| there == action);
        if has("trap") && has("errno") {
            return Ok(Extent::Available);
        }
    }
    Err(Error::NoFilters)
}
