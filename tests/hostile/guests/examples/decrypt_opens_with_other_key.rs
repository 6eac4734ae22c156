//! Opens the cipher with another key than the one from `unwrap`, then with that.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, Refusal, Report, cipher, fixture,
};

struct OpensWithOtherKey;

impl Fixture for OpensWithOtherKey {
    fn decrypt(mut key: LayerKey, source: InputStream, _: OutputStream) -> Result<(), Failure> {
        let mut report = Report::default();
        key.hmac[0] ^= 1;
        let refusal = match cipher::open(&key, source) {
            Err(refusal) => refusal,
            opened => {
                report.attempt("open with another key", opened);
                return Err(report.failure());
            }
        };
        let gives_back = match &refusal {
            Refusal::NotGranted(_) => Ok("the source was given back, to try again"),
            refused => Err(refused),
        };
        report.attempt("open with another key", gives_back);
        Err(report.failure())
    }
}

fixture!(OpensWithOtherKey);
