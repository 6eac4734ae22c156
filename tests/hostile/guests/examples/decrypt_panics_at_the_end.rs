//! Moves the whole layer, then panics.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, copy, fixture, open,
};

struct PanicsAtTheEnd;

impl Fixture for PanicsAtTheEnd {
    fn decrypt(key: LayerKey, source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(&key, source)?, &sink)?;
        panic!("at the end")
    }
}

fixture!(PanicsAtTheEnd);
