//! Asks for the time in `unwrap`.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture};

struct UnwrapReadsTheClock;

impl Fixture for UnwrapReadsTheClock {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let now = std::time::SystemTime::now();
        Err(failure(&format!("HARM, it is {now:?}")))
    }
}

fixture!(UnwrapReadsTheClock);
