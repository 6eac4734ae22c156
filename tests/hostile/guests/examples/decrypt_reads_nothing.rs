//! Reads no byte at all, again and again: the host must not keep a note of each.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct ReadsNothing;

impl Fixture for ReadsNothing {
    fn decrypt(source: InputStream, _: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let _ = plain.blocking_read(1);
        loop {
            let _ = plain.read(0);
        }
    }
}

fixture!(ReadsNothing);
