//! Records attempts, so that nothing is computed twice.

use std::collections::BTreeSet;

use crate::keys::PrivateKey;

/// The attempts on all JWEs of a layer: a thousand copies of one wrapped key cost only one private-key
/// operation.
#[derive(Default)]
pub struct Search<'k> {
    /// Wrapped keys, and the keys that do not fit them.
    in_vain: BTreeSet<([u8; 32], usize)>,
    tried: Vec<&'k PrivateKey>,
    places: BTreeSet<usize>,
}

impl<'k> Search<'k> {
    /// The keys that were tried so far, in the order of their first attempts.
    pub fn tried(&self) -> &[&'k PrivateKey] {
        &self.tried
    }

    pub(super) fn tries(&mut self, key: &'k PrivateKey) {
        if self.places.insert(place(key)) {
            self.tried.push(key);
        }
    }

    /// Whether `key` was tried on this wrapped key before, and does not fit.
    pub(super) fn was_in_vain(&self, id: [u8; 32], key: &PrivateKey) -> bool {
        self.in_vain.contains(&(id, place(key)))
    }

    /// Records that `key` does not fit.
    pub(super) fn was_tried(&mut self, id: [u8; 32], key: &PrivateKey) {
        self.in_vain.insert((id, place(key)));
    }
}

/// The identity of a key of a ring: its address.
pub(super) fn place(key: &PrivateKey) -> usize {
    std::ptr::from_ref(key).addr()
}
