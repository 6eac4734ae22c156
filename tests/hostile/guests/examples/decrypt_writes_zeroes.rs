//! Writes zeroes, more than there are bytes in the machine.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, Report, fixture};

struct WritesZeroes;

impl Fixture for WritesZeroes {
    fn decrypt(_: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let mut report = Report::default();
        report.attempt("write zeroes", sink.write_zeroes(1 << 16));
        let stderr = wasip2::cli::stderr::get_stderr();
        let _ = stderr.write_zeroes(1 << 40);
        Err(report.failure())
    }
}

fixture!(WritesZeroes);
