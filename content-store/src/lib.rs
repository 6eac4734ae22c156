//! Where the content store of the containerd that calls the decoder is, and how it is opened.
//!
//! `ctd-decoder` searches the stores that [`Places::open`] returns, and `keycell doctor` predicts with
//! the same stores: the decoder passes the id of its parent, doctor that of the containerd that runs.
//!
//! These places are looked at, in this order:
//!
//! 1. The root of the containerd that calls. It holds
//!    `<root>/io.containerd.metadata.v1.bolt/meta.db` open, so the links in `/proc/<pid>/fd` show the
//!    root wherever it is. The [`caller`] module says which processes are believed.
//! 2. The root that `--content-store` names.
//! 3. containerd's usual roots, [`USUAL_ROOTS`], if neither of the others is known.
//!
//! The manifest that is being pulled may be in any of the stores that are opened, so a store that exists
//! and cannot be opened is an error.

#![forbid(unsafe_code)]

pub mod caller;
mod error;
mod process;
mod store;

#[cfg(test)]
mod tests;

pub use error::{PlacesError, Unknown};
pub use rustix::process::Pid;
pub use store::{Origin, Store};

use std::path::Path;

use keycell_settings::ContentStore;

use caller::{Caller, Root};

/// Where containerd keeps its content store below its root.
pub const BELOW_ROOT: &str = "io.containerd.content.v1.content";

/// containerd's default roots: its own, and those of the distributions that include it.
pub const USUAL_ROOTS: [&str; 6] = [
    "/var/lib/containerd",
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/lib/rancher/rke2/agent/containerd",
    "/var/lib/k0s/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
    "/var/lib/docker/containerd/daemon",
];

/// The places to look at: what is configured, and what is known of the caller.
#[derive(Debug)]
pub struct Places<'s> {
    setting: &'s ContentStore,
    caller: Result<Caller, Unknown>,
}

impl<'s> Places<'s> {
    /// The places for this setting, when the process `caller` or an ancestor of it is containerd.
    ///
    /// # Ambient Authority
    /// Reads `/proc` with the rights of this process, and opens the root that it finds there.
    pub fn of(setting: &'s ContentStore, caller: Option<Pid>) -> Self {
        let caller = match (setting, caller) {
            (ContentStore::Off, _) | (_, None) => Err(Unknown::NoProcess),
            (_, Some(pid)) => caller::find(pid),
        };
        Self { setting, caller }
    }

    /// The containerd that calls, or why it is not known.
    pub fn caller(&self) -> Result<&Caller, &Unknown> {
        self.caller.as_ref()
    }

    /// Why the containerd that calls is not known, as errors own it.
    fn unknown(&self) -> Option<Unknown> {
        self.caller.as_ref().err().cloned()
    }

    /// Opens every content store that exists at these places. There is at least one.
    ///
    /// # Errors
    /// There is none, or one cannot be opened.
    ///
    /// # Ambient Authority
    /// Opens directories with the rights of this process.
    pub fn open(&self) -> Result<Vec<Store>, PlacesError> {
        let mut stores = Vec::new();
        let roots = self.caller.as_ref().map(|caller| caller.roots.as_slice()).unwrap_or_default();
        for root in roots {
            add(&mut stores, Store::of_caller(root)?);
        }
        match self.setting {
            ContentStore::Off => return Err(PlacesError::Off),
            ContentStore::At(path) => {
                // The path may be containerd's root or the store itself.
                for path in [&path.join(BELOW_ROOT), path] {
                    add(&mut stores, Store::at(path, Origin::Configured)?);
                }
            }
            ContentStore::Default if stores.is_empty() => {
                for root in USUAL_ROOTS {
                    let path = Path::new(root).join(BELOW_ROOT);
                    add(&mut stores, Store::at(&path, Origin::Usual)?);
                }
            }
            ContentStore::Default => {}
        }
        match (stores.is_empty(), self.setting) {
            (false, _) => Ok(stores),
            (true, ContentStore::At(path)) => {
                Err(PlacesError::Other { path: path.clone(), unknown: self.unknown() })
            }
            (true, _) => {
                let of_caller = roots.iter().map(Root::store).collect();
                Err(PlacesError::Absent { of_caller, unknown: self.unknown() })
            }
        }
    }
}

/// Adds a store, unless it is one of those that are known under another path.
fn add(stores: &mut Vec<Store>, store: Option<Store>) {
    if let Some(store) = store
        && !stores.iter().any(|known| known.is_same(&store))
    {
        stores.push(store);
    }
}
