//! Opens the cipher a second time, with the ciphertext of the first.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, Report, cipher, fixture, of_contract, open,
};

struct OpensTwice;

impl Fixture for OpensTwice {
    fn decrypt(source: InputStream, _: OutputStream) -> Result<(), Failure> {
        let _plain = open(source)?;
        let mut report = Report::default();
        let again = of_contract(wasip2::cli::stdin::get_stdin());
        report.attempt("open again", cipher::open(again));
        Err(report.failure())
    }
}

fixture!(OpensTwice);
