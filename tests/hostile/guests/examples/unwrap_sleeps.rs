//! Sleeps in `unwrap`: there is no clock.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture};

struct UnwrapSleeps;

impl Fixture for UnwrapSleeps {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        wasip2::clocks::monotonic_clock::subscribe_duration(1_000_000).block();
        Err(failure("HARM, it slept"))
    }
}

fixture!(UnwrapSleeps);
