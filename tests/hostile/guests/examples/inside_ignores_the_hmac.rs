//! With `--cipher guest`: copies a layer whose HMAC is another one, and says that all is well.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, Request, copy, fixture, key_in,
};

struct IgnoresTheHmac;

impl Fixture for IgnoresTheHmac {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let mut key = key_in(&request);
        key.hmac[0] ^= 1;
        Ok(key)
    }

    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&source, &sink)
    }
}

fixture!(IgnoresTheHmac);
