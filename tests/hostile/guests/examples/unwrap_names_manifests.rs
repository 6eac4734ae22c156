//! Says that a stored manifest gave the key, where there is none.

use keycell_hostile_guests::{Fixture, fixture};

struct NamesManifests;

impl Fixture for NamesManifests {
    fn manifests() -> Vec<u32> {
        vec![u32::MAX]
    }
}

fixture!(NamesManifests);
