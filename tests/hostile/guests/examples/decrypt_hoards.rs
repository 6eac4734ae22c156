//! Keeps what it reads: a layer need not fit into memory.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture, open};

struct Hoards;

impl Fixture for Hoards {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let mut hoard = Vec::new();
        while let Ok(bytes) = plain.blocking_read(1 << 16) {
            hoard.push(bytes);
        }
        for bytes in hoard.iter().flat_map(|bytes| bytes.chunks(4096)) {
            let _ = sink.blocking_write_and_flush(bytes);
        }
        Ok(())
    }
}

fixture!(Hoards);
