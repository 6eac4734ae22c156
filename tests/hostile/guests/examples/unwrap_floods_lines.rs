//! Says nothing but ends of lines: each would be an entry in the system's log.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture};

struct FloodsLines;

impl Fixture for FloodsLines {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        for _ in 0..64 {
            eprint!("{}", "a\n".repeat(1024));
        }
        Err(failure("flooded"))
    }
}

fixture!(FloodsLines);
