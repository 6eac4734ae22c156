//! Asks for random numbers in `decrypt`.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, failure, fixture};

struct AsksForRandom;

impl Fixture for AsksForRandom {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        let bytes = wasip2::random::random::get_random_bytes(16);
        Err(failure(&format!("HARM, {} bytes", bytes.len())))
    }
}

fixture!(AsksForRandom);
