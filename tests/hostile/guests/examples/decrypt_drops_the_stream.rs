//! Reads half of the layer, drops the stream and says that it is done.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct DropsTheStream;

impl Fixture for DropsTheStream {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let _ = sink.blocking_splice(&plain, 500);
        drop(plain);
        Ok(())
    }
}

fixture!(DropsTheStream);
