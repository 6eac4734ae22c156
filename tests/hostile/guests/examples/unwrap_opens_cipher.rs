//! Opens the cipher in the step that has the keys.

use keycell_hostile_guests::{
    Failure, Fixture, LayerKey, Report, Request, cipher, fixture, of_contract,
};

struct OpensCipher;

impl Fixture for OpensCipher {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        let source = of_contract(wasip2::cli::stdin::get_stdin());
        report.attempt("open", cipher::open(source));
        Err(report.failure())
    }
}

fixture!(OpensCipher);
