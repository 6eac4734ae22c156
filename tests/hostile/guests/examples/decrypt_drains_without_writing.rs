//! Reads all that it gets and writes nothing.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct DrainsWithoutWriting;

impl Fixture for DrainsWithoutWriting {
    fn decrypt(source: InputStream, _: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        while plain.blocking_read(1 << 16).is_ok() {}
        Ok(())
    }
}

fixture!(DrainsWithoutWriting);
