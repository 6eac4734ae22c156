//! Asks a key provider, which is configured, again and again.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture, providers};

struct AsksWithoutEnd;

impl Fixture for AsksWithoutEnd {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut last = String::new();
        for asked in 0..1000 {
            match providers::unwrap("plain", b"wrapped", &[]) {
                Ok(_) => last = format!("HARM, answer {asked}"),
                Err(refusal) => last = format!("{asked}: {refusal:?}"),
            }
        }
        Err(failure(&last))
    }
}

fixture!(AsksWithoutEnd);
