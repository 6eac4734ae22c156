//! Takes all the memory that `decrypt` can get.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, eat_memory, fixture};

struct Allocates;

impl Fixture for Allocates {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        Err(eat_memory())
    }
}

fixture!(Allocates);
