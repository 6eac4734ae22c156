//! Moves the layer byte by byte: slow, but allowed. It keeps what it can.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct ReadsBytewise;

impl Fixture for ReadsBytewise {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let mut kept = Vec::new();
        while let Ok(byte) = plain.blocking_read(1) {
            kept.extend(byte);
        }
        for bytes in kept.chunks(1) {
            let _ = sink.write(bytes);
        }
        Ok(())
    }
}

fixture!(ReadsBytewise);
