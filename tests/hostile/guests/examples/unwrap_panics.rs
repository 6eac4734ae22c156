//! Panics in `unwrap`, with a key in its last words.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, fixture};

struct UnwrapPanics;

impl Fixture for UnwrapPanics {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let key = fs::read_to_string("/keys/key.pem").unwrap_or_default();
        panic!("cannot parse {key}")
    }
}

fixture!(UnwrapPanics);
