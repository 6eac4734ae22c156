//! Writes no bytes, repeatedly: each write might be recorded in the host's accounting.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture};

struct WritesNothing;

impl Fixture for WritesNothing {
    fn decrypt(_: InputStream, sink: OutputStream) -> Result<(), Failure> {
        loop {
            let _ = sink.write(&[]);
        }
    }
}

fixture!(WritesNothing);
