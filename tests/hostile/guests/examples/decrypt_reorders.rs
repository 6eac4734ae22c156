//! Writes the plain bytes in another order.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct Reorders;

impl Fixture for Reorders {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let first = plain.blocking_read(256).unwrap_or_default();
        let second = plain.blocking_read(256).unwrap_or_default();
        let _ = sink.blocking_write_and_flush(&second);
        let _ = sink.blocking_write_and_flush(&first);
        while sink.blocking_splice(&plain, 1 << 16).is_ok() {}
        Ok(())
    }
}

fixture!(Reorders);
