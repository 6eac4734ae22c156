//! Reads some of the layer, and writes more than any gzip stream can expand to.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, Output, OutputStream, failure, fixture, open,
};

struct Expands;

impl Fixture for Expands {
    fn decrypt_into(source: InputStream, sink: OutputStream, _: Output) -> Result<(), Failure> {
        let plain = open(source)?;
        let _ = plain.blocking_read(100);
        for _ in 0..1_000_000 {
            sink.blocking_write_and_flush(&[0; 4096])
                .map_err(|error| failure(&format!("write: refused ({error:?})")))?;
        }
        Ok(())
    }
}

fixture!(Expands);
