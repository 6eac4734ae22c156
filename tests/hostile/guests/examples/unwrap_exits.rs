//! Ends the program from `unwrap`, with the code for success.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, fixture};

struct UnwrapExits;

impl Fixture for UnwrapExits {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        std::process::exit(0)
    }
}

fixture!(UnwrapExits);
