//! Fails with a message of megabytes, and as many hints.

use keycell_hostile_guests::{
    Failure, Fixture, LayerKey, Request, failure_with_hints, fixture, note,
};

struct FailsAtLength;

impl Fixture for FailsAtLength {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let (message, hints) = match note(&request) {
            "message" => ("m\u{e9} ".repeat(200_000), Vec::new()),
            "huge message" => ("m ".repeat(16 << 20), Vec::new()),
            "hints" => ("many hints".to_owned(), vec!["h".to_owned(); 40_000]),
            _ => ("empty hints".to_owned(), vec![String::new(); 40_000]),
        };
        Err(failure_with_hints(message, hints))
    }
}

fixture!(FailsAtLength);
