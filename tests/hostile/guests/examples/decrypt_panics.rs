//! Panics in `decrypt`.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture};

struct DecryptPanics;

impl Fixture for DecryptPanics {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        panic!("at the start")
    }
}

fixture!(DecryptPanics);
