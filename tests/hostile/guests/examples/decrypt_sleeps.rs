//! Sleeps in `decrypt`: there is no clock.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, failure, fixture};

struct DecryptSleeps;

impl Fixture for DecryptSleeps {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        wasip2::clocks::monotonic_clock::subscribe_duration(1_000_000).block();
        Err(failure("HARM, it slept"))
    }
}

fixture!(DecryptSleeps);
