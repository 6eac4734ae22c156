//! Opens the cipher, reads nothing, writes something, and claims success.

use keycell_hostile_guests::{Failure, Fixture, InputStream, Output, OutputStream, fixture, open};

struct EndsUnread;

impl Fixture for EndsUnread {
    fn decrypt_into(source: InputStream, sink: OutputStream, _: Output) -> Result<(), Failure> {
        let _plain = open(source)?;
        let _ = sink.blocking_write_and_flush(b"a layer of mine");
        Ok(())
    }
}

fixture!(EndsUnread);
