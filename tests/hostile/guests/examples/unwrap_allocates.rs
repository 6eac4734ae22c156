//! Takes all the memory that `unwrap` can get.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, eat_memory, fixture};

struct Allocates;

impl Fixture for Allocates {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        Err(eat_memory())
    }
}

fixture!(Allocates);
