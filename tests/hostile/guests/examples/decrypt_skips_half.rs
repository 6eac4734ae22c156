//! Skips a piece of the layer and splices the rest.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, copy, fixture, open};

struct SkipsHalf;

impl Fixture for SkipsHalf {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let _ = plain.blocking_skip(500);
        copy(&plain, &sink)
    }
}

fixture!(SkipsHalf);
