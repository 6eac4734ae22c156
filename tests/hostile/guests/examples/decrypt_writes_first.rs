//! Writes extra bytes before the layer.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, copy, fixture, open};

struct WritesFirst;

impl Fixture for WritesFirst {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let _ = sink.blocking_write_and_flush(b"a file of mine");
        copy(&open(source)?, &sink)
    }
}

fixture!(WritesFirst);
