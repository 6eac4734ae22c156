//! Returns a well-formed key of another layer.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, fixture, key_in};

struct ReturnsOtherKey;

impl Fixture for ReturnsOtherKey {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let mut key = key_in(&request);
        key.key[31] ^= 1;
        Ok(key)
    }
}

fixture!(ReturnsOtherKey);
