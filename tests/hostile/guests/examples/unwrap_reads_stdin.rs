//! Reads the encrypted layer in the step that has the keys.

use std::io::{self, Read};

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture, found};

struct ReadsStdin;

impl Fixture for ReadsStdin {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let mut bytes = Vec::new();
        let read = io::stdin().read_to_end(&mut bytes);
        report.attempt("read to the end", read.map_err(drop).and(found(&bytes).map_err(drop)));
        report.attempt("read", wasip2::cli::stdin::get_stdin().blocking_read(64));
        report.attempt("skip", wasip2::cli::stdin::get_stdin().blocking_skip(64));
        Err(report.failure())
    }
}

fixture!(ReadsStdin);
