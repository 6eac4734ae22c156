//! Reads all of the layer, and writes other bytes.

use keycell_hostile_guests::{Failure, Fixture, InputStream, Output, OutputStream, fixture, open};

struct WritesOtherBytes;

impl Fixture for WritesOtherBytes {
    fn decrypt_into(source: InputStream, sink: OutputStream, _: Output) -> Result<(), Failure> {
        let plain = open(source)?;
        while let Ok(bytes) = plain.blocking_read(4096) {
            let _ = sink.blocking_write_and_flush(&vec![b'x'; bytes.len()]);
        }
        Ok(())
    }
}

fixture!(WritesOtherBytes);
