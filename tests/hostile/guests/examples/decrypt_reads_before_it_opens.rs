//! Takes the beginning of the encrypted layer before it opens the cipher on the rest.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, copy, failure, fixture, open,
};

struct ReadsBeforeItOpens;

impl Fixture for ReadsBeforeItOpens {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let taken = source.blocking_read(500).unwrap_or_default();
        if taken.is_empty() {
            return Err(failure("the layer ended after nothing"));
        }
        copy(&open(source)?, &sink)
    }
}

fixture!(ReadsBeforeItOpens);
