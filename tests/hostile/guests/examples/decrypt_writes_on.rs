//! Writes a byte of its own among the plain ones, and after that goes on with what follows.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, fixture, open,
};

struct WritesOn;

impl Fixture for WritesOn {
    fn decrypt(key: LayerKey, source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(&key, source)?;
        let mut is_first = true;
        while let Ok(bytes) = plain.blocking_read(4096) {
            let (first, rest) = bytes.split_at(16.min(bytes.len()));
            if std::mem::take(&mut is_first) {
                let _ = sink.write(&[first, b"!"].concat());
            } else {
                let _ = sink.write(first);
            }
            let _ = sink.write(rest);
        }
        Ok(())
    }
}

fixture!(WritesOn);
