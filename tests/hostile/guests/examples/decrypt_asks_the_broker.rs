//! Asks a key provider, which is configured, and tokens in the step that has no business with them.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, ask_the_broker, fixture,
};

struct AsksTheBroker;

impl Fixture for AsksTheBroker {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        Err(ask_the_broker().failure())
    }
}

fixture!(AsksTheBroker);
