//! With `--cipher guest`: writes more than it has read.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture};

struct WritesMore;

impl Fixture for WritesMore {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        while let Ok(bytes) = source.blocking_read(4096) {
            let _ = sink.blocking_write_and_flush(&bytes);
        }
        let _ = sink.blocking_write_and_flush(b"and a file of mine");
        Ok(())
    }
}

fixture!(WritesMore);
