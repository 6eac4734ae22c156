//! Writes an extra byte after the first plain ones, and then continues with the following bytes.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct WritesOn;

impl Fixture for WritesOn {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let mut first = plain.blocking_read(64).unwrap_or_default();
        let mut next = plain.blocking_read(64).unwrap_or_default();
        first.push(!next.first().copied().unwrap_or_default());
        let _ = sink.write(&first);
        loop {
            let _ = sink.write(&next);
            let Ok(more) = plain.blocking_read(4096) else { return Ok(()) };
            next = more;
        }
    }
}

fixture!(WritesOn);
