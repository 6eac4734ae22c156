//! Ends the program from `decrypt`, with the code for success.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, fixture};

struct DecryptExits;

impl Fixture for DecryptExits {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        std::process::exit(0)
    }
}

fixture!(DecryptExits);
