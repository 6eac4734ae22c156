//! Writes no bytes, again and again: each would be a note in the host's books.

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
