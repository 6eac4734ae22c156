//! With `--cipher guest`: writes another layer than the one whose digest was sealed, and says that
//! all is well.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, Request, copy, fixture, key_in,
};

struct IgnoresTheDigest;

impl Fixture for IgnoresTheDigest {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        Ok(LayerKey { digest: Some(format!("sha256:{}", "00".repeat(32))), ..key_in(&request) })
    }

    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&source, &sink)
    }
}

fixture!(IgnoresTheDigest);
