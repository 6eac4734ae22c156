//! Moves the whole layer and never says so.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, copy, fixture, open, spin,
};

struct LoopsAtTheEnd;

impl Fixture for LoopsAtTheEnd {
    fn decrypt(key: LayerKey, source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(&key, source)?, &sink)?;
        spin()
    }
}

fixture!(LoopsAtTheEnd);
