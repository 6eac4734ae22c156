//! Reads half of a layer that it should decompress, writes something, and claims success.

use keycell_hostile_guests::{Failure, Fixture, InputStream, Output, OutputStream, fixture, open};

struct EndsEarly;

impl Fixture for EndsEarly {
    fn decrypt_into(source: InputStream, sink: OutputStream, _: Output) -> Result<(), Failure> {
        let plain = open(source)?;
        let half = plain.blocking_read(500).unwrap_or_default();
        let _ = sink.blocking_write_and_flush(&half);
        Ok(())
    }
}

fixture!(EndsEarly);
