//! Opens a key file that another program holds a lease on: the kernel makes it wait for as long as
//! that program likes, as a drive does that does not answer.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};

struct OpensLeasedFile;

impl Fixture for OpensLeasedFile {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        report.attempt("read key.pem", fs::read("/keys/key.pem"));
        Err(report.failure())
    }
}

fixture!(OpensLeasedFile);
