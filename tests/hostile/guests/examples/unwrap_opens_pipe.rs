//! Reads a named pipe in the keys directory, which nobody writes to.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};

struct OpensPipe;

impl Fixture for OpensPipe {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        report.attempt("read pipe", fs::read("/keys/pipe"));
        Err(report.failure())
    }
}

fixture!(OpensPipe);
