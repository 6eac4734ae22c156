//! Asks for random numbers of the cheap kind in `decrypt`.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, failure, fixture};

struct AsksForInsecureRandom;

impl Fixture for AsksForInsecureRandom {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        let number = wasip2::random::insecure::get_insecure_random_u64();
        Err(failure(&format!("HARM, {number}")))
    }
}

fixture!(AsksForInsecureRandom);
