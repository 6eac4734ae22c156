//! With `--cipher guest`: reads and writes half a layer and says that it is done.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture};

struct StopsHalf;

impl Fixture for StopsHalf {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let bytes = source.blocking_read(500).unwrap_or_default();
        let _ = sink.blocking_write_and_flush(&bytes);
        Ok(())
    }
}

fixture!(StopsHalf);
