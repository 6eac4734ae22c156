//! Returns no key, or more than one for a payload, which has one. Which, the payload says.

use keycell_hostile_guests::{Fixture, Request, fixture, note};

struct ManyKeys;

impl Fixture for ManyKeys {
    fn copies(request: &Request) -> usize {
        match note(request) {
            "none" => 0,
            "two" => 2,
            _ => 17,
        }
    }
}

fixture!(ManyKeys);
