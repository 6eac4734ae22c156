//! Fails without a word.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture, note};

struct FailsSilently;

impl Fixture for FailsSilently {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        Err(failure(note(&request)))
    }
}

fixture!(FailsSilently);
