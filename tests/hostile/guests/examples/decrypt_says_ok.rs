//! Says that it is done, and did nothing.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture};

struct SaysOk;

impl Fixture for SaysOk {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        Ok(())
    }
}

fixture!(SaysOk);
