//! With `--cipher guest`: asks for the layer key a second time.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, Refusal, Report, cipher, failure, fixture,
};

struct AsksTwice;

impl Fixture for AsksTwice {
    fn decrypt(source: InputStream, _: OutputStream) -> Result<(), Failure> {
        let Err(Refusal::NotGranted(own)) = cipher::open(source) else {
            return Err(failure("HARM, the cipher was lent"));
        };
        let mut report = Report::default();
        report.attempt("ask again", cipher::open(own.source));
        Err(report.failure())
    }
}

fixture!(AsksTwice);
