//! Fails with the private key as its message.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure_with_hints, fixture};

struct FailsWithAKey;

impl Fixture for FailsWithAKey {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let key = fs::read_to_string("/keys/key.pem").unwrap_or_default();
        eprintln!("{key}");
        let message = format!("cannot parse `{key}`");
        Err(failure_with_hints(message, vec![key]))
    }
}

fixture!(FailsWithAKey);
