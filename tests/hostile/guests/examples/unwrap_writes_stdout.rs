//! Writes the payload to standard output from the step that has the keys.

use std::io::{self, Write};

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture, payload};

struct WritesStdout;

impl Fixture for WritesStdout {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let written = io::stdout().write_all(payload(&request)).and_then(|()| io::stdout().flush());
        report.attempt("write", written);
        let stdout = wasip2::cli::stdout::get_stdout();
        report.attempt("blocking-write", stdout.blocking_write_and_flush(payload(&request)));
        report.attempt("check-write", stdout.check_write());
        report.attempt("write-zeroes", stdout.blocking_write_zeroes_and_flush(64));
        Err(report.failure())
    }
}

fixture!(WritesStdout);
