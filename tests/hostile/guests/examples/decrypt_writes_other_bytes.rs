//! Writes other bytes than the plain ones, as many as those.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, failure, fixture, open};

struct WritesOtherBytes;

impl Fixture for WritesOtherBytes {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        while let Ok(mut bytes) = plain.blocking_read(4096) {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            sink.blocking_write_and_flush(&bytes)
                .map_err(|error| failure(&format!("write: refused ({error:?})")))?;
        }
        Ok(())
    }
}

fixture!(WritesOtherBytes);
