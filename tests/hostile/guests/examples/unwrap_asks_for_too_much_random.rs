//! Asks for more random numbers than any blinding needs.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture};

struct AsksForTooMuchRandom;

impl Fixture for AsksForTooMuchRandom {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let bytes = wasip2::random::random::get_random_bytes(1 << 40);
        Err(failure(&format!("HARM, {} bytes", bytes.len())))
    }
}

fixture!(AsksForTooMuchRandom);
