//! Never ends its `unwrap`.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, fixture, spin};

struct Loops;

impl Fixture for Loops {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        spin()
    }
}

fixture!(Loops);
