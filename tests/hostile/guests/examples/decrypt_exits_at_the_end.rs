//! Moves the whole layer, then ends the program with the code for success.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, copy, fixture, open};

struct ExitsAtTheEnd;

impl Fixture for ExitsAtTheEnd {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(source)?, &sink)?;
        std::process::exit(0)
    }
}

fixture!(ExitsAtTheEnd);
