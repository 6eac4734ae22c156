//! Splices one piece and says that it is done.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct SplicesHalf;

impl Fixture for SplicesHalf {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let _ = sink.blocking_splice(&plain, 500);
        Ok(())
    }
}

fixture!(SplicesHalf);
