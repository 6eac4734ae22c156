//! Writes the layer and extra bytes after it.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, copy, failure, fixture, open,
};

struct WritesMore;

impl Fixture for WritesMore {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(source)?, &sink)?;
        sink.blocking_write_and_flush(b"and a file of mine")
            .map_err(|error| failure(&format!("write: refused ({error:?})")))
    }
}

fixture!(WritesMore);
