//! What has been tried, so that nothing is computed twice.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::keyring::NamedKey;

/// What has been tried on all JWEs of a layer: a thousand copies of one wrapped key cost one
/// private-key operation.
#[derive(Default)]
pub struct Search<'k> {
    /// Wrapped keys, and the keys that do not fit them.
    in_vain: BTreeSet<([u8; 32], usize)>,
    tried: Vec<&'k NamedKey>,
    places: BTreeSet<usize>,
}

impl<'k> Search<'k> {
    /// The keys that were tried so far, in the order in which that was done first.
    pub fn tried(&self) -> &[&'k NamedKey] {
        &self.tried
    }

    pub(super) fn tries(&mut self, key: &'k NamedKey) {
        if self.places.insert(place(key)) {
            self.tried.push(key);
        }
    }

    /// Whether `key` was tried on this wrapped key before, and does not fit.
    pub(super) fn was_in_vain(&self, id: [u8; 32], key: &NamedKey) -> bool {
        self.in_vain.contains(&(id, place(key)))
    }

    /// That `key` does not fit.
    pub(super) fn was_tried(&mut self, id: [u8; 32], key: &NamedKey) {
        self.in_vain.insert((id, place(key)));
    }
}

/// What tells a key of a ring from every other one: where it is.
pub(super) fn place(key: &NamedKey) -> usize {
    std::ptr::from_ref(key).addr()
}

/// The identity of a wrapped key: the hash of the parts that `feed` is called with, each with its
/// length.
pub(crate) fn id(feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 32] {
    let mut hash = Sha256::new();
    feed(&mut |part| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    });
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn parts_do_not_run_into_each_other() {
        let id = |parts: &[&[u8]]| super::id(|hash| parts.iter().for_each(|part| hash(part)));
        assert_ne!(id(&[b"ab", b"c"]), id(&[b"a", b"bc"]));
    }
}
