//! Takes handles that cost no descriptor until there is none left.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture};

struct HoldsThousands;

impl Fixture for HoldsThousands {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let held: Vec<_> = (0..1_000_000).map(|_| wasip2::cli::stderr::get_stderr()).collect();
        Err(failure(&format!("HARM, {} handles", held.len())))
    }
}

fixture!(HoldsThousands);
