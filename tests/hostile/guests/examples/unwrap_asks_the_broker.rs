//! Asks key providers and tokens, of which none is configured.

use keycell_hostile_guests::{
    Failure, Fixture, LayerKey, OaepHash, Report, Request, TokenKey, fixture, found, providers,
    tokens,
};

struct AsksTheBroker;

const KEY_FILE: &[u8] =
    b"pkcs11:\n  uri: pkcs11:token=a;object=b?pin-value=1&module-path=/usr/lib/libc.so.6\n";

impl Fixture for AsksTheBroker {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        report.attempt("provider", providers::unwrap("plain", b"wrapped", &[]));
        report.attempt("nameless provider", providers::unwrap("", b"", &[]));
        report.attempt("list", found(tokens::keys()));
        report.attempt("token", tokens::decrypt(&TokenKey::Configured(0), OaepHash::Sha1, b"blob"));
        let given = TokenKey::Given(KEY_FILE.to_vec());
        report.attempt("given token", tokens::decrypt(&given, OaepHash::Sha256, b"blob"));
        Err(report.failure())
    }
}

fixture!(AsksTheBroker);
