//! Passes the encrypted layer on as the plain one.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, copy, fixture};

struct WritesCiphertext;

impl Fixture for WritesCiphertext {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&source, &sink)
    }
}

fixture!(WritesCiphertext);
