//! Says that it is done, and did nothing.

use keycell_hostile_guests::{Failure, Fixture, InputStream, LayerKey, OutputStream, fixture};

struct SaysOk;

impl Fixture for SaysOk {
    fn decrypt(_: LayerKey, _: InputStream, _: OutputStream) -> Result<(), Failure> {
        Ok(())
    }
}

fixture!(SaysOk);
