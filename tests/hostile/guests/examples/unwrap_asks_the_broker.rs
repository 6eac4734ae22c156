//! Asks key providers and tokens, of which none is configured.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, ask_the_broker, fixture};

struct AsksTheBroker;

impl Fixture for AsksTheBroker {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        Err(ask_the_broker().failure())
    }
}

fixture!(AsksTheBroker);
