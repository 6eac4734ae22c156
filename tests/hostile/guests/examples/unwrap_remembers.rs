//! Keeps the private key in a global and looks for it in `decrypt`.

use std::fs;
use std::sync::Mutex;

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, Report, Request, fixture, found, key_in,
};

static REMEMBERED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Remembers;

impl Fixture for Remembers {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let key = fs::read("/keys/key.pem").map_err(|_| Report::default().failure())?;
        // Elsewhere in memory too, without anything that points to it.
        std::mem::forget(vec![key.clone(); 64]);
        REMEMBERED.lock().unwrap_or_else(|lock| lock.into_inner()).extend(key);
        Ok(key_in(&request))
    }

    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        let mut report = Report::default();
        let remembered = REMEMBERED.lock().unwrap_or_else(|lock| lock.into_inner());
        report.attempt("remember", found(remembered.iter()));
        Err(report.failure())
    }
}

fixture!(Remembers);
