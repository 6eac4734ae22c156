//! Opens the cipher on another stream than the layer.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, Report, cipher, fixture, of_contract,
};

struct OpensOtherSource;

impl Fixture for OpensOtherSource {
    fn decrypt(source: InputStream, _: OutputStream) -> Result<(), Failure> {
        let mut report = Report::default();
        let other = of_contract(wasip2::cli::stdin::get_stdin());
        report.attempt("open another stream", cipher::open(other));
        report.attempt("open after a refusal", cipher::open(source));
        Err(report.failure())
    }
}

fixture!(OpensOtherSource);
