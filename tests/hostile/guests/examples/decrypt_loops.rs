//! Never ends its `decrypt`, and moves nothing.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, spin};

struct Loops;

impl Fixture for Loops {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        spin()
    }
}

fixture!(Loops);
