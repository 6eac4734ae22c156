//! Moves the whole layer and never says so.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, copy, fixture, open, spin,
};

struct LoopsAtTheEnd;

impl Fixture for LoopsAtTheEnd {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(source)?, &sink)?;
        spin()
    }
}

fixture!(LoopsAtTheEnd);
