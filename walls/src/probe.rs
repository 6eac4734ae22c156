//! Which walls this kernel gives, without putting one up.

use std::fs;

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use crate::{Wall, files, memory, plain};

/// Looks which walls the decoder would have if it ran here and now, as this user: one entry for
/// each, in the order in which they are put up, with the reason where one is missing. Changes
/// nothing, and takes well under a millisecond.
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
    let privileges = rustix::thread::no_new_privs().map(|_| String::new()).map_err(plain);
    let capabilities = rustix::thread::capabilities(None);
    let permitted = capabilities.map_or(CapabilitySet::empty(), |sets| sets.permitted);
    vec![
        Wall::required(crate::decoder::NO_NEW_PRIVILEGES, privileges),
        Wall::required(crate::decoder::NO_DUMP, Ok(String::new())),
        Wall::required(crate::decoder::LIMITS, Ok(String::new())),
        Wall::wanted(crate::decoder::NO_SWAP, locking(permitted)),
        Wall::required(
            crate::decoder::CAPABILITIES,
            capabilities.map(|_| String::new()).map_err(plain),
        ),
        Wall::required(crate::decoder::FILES, files::available()),
        Wall::required(crate::decoder::CALLS, filters()),
    ]
}

fn locking(permitted: CapabilitySet) -> Result<String, String> {
    let unlimited = rustix::process::getrlimit(Resource::Memlock).current.is_none();
    let able = CapabilitySet::IPC_LOCK | CapabilitySet::SYS_RESOURCE;
    if unlimited || permitted.intersects(able) || memory::nothing_to_swap_to() {
        return Ok(String::new());
    }
    Err("run as root, or set `LimitMEMLOCK=infinity` for containerd's service".to_owned())
}

/// The actions that filters may take (seccomp(2), `/proc`).
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

fn filters() -> Result<String, String> {
    if let Ok(actions) = fs::read_to_string(ACTIONS) {
        let has = |action| actions.split_whitespace().any(|there| there == action);
        if has("trap") && has("errno") {
            return Ok(String::new());
        }
    }
    Err("this kernel takes no filter of system calls: it needs `CONFIG_SECCOMP_FILTER`".to_owned())
}
