//! Moves the whole layer and says that it failed.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, copy, failure, fixture, open,
};

struct FailsAtTheEnd;

impl Fixture for FailsAtTheEnd {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(source)?, &sink)?;
        Err(failure("changed my mind"))
    }
}

fixture!(FailsAtTheEnd);
