//! Moves the whole layer, then panics.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, copy, fixture, open};

struct PanicsAtTheEnd;

impl Fixture for PanicsAtTheEnd {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(source)?, &sink)?;
        panic!("at the end")
    }
}

fixture!(PanicsAtTheEnd);
