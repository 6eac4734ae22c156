//! Reads a key file in every way that there is: all of them have to give the same bytes. Nothing is
//! hostile about that, but for a host that needs a thread for one of them.

use std::fs;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture, key_in};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};
use wasip2::io::streams::{InputStream, StreamError};

struct ReadsByStream;

/// All of the stream, by `read`.
fn all(
    stream: &InputStream,
    read: impl Fn(&InputStream) -> Result<Vec<u8>, StreamError>,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        match read(stream) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(error) => return Err(failure(&format!("read: {error:?}"))),
        }
    }
}

fn streams(file: &Descriptor, whole: &[u8]) -> Result<(), Failure> {
    let from = |at| {
        file.read_via_stream(at).map_err(|error| failure(&format!("read-via-stream: {error:?}")))
    };
    let wait_and_read = |stream: &InputStream| {
        stream.subscribe().block();
        stream.read(100)
    };
    for (way, bytes) in [
        ("read", all(&from(0)?, |stream| stream.read(64))?),
        ("read all", all(&from(0)?, |stream| stream.read(u64::MAX))?),
        ("blocking-read", all(&from(0)?, |stream| stream.blocking_read(7))?),
        ("poll", all(&from(0)?, wait_and_read)?),
    ] {
        if bytes != whole {
            return Err(failure(&format!("{way}: {} bytes, and they differ", bytes.len())));
        }
    }
    let skipped = from(0)?;
    let length = skipped.skip(10).map_err(|error| failure(&format!("skip: {error:?}")))?;
    let rest = all(&skipped, |stream| stream.read(64))?;
    if rest != whole[length as usize..] || all(&from(10)?, |it| it.read(64))? != whole[10..] {
        return Err(failure("from the middle: other bytes"));
    }
    match all(&from(1 << 40)?, |stream| stream.read(64))? {
        nothing if nothing.is_empty() => Ok(()),
        _ => Err(failure("beyond the end: bytes")),
    }
}

impl Fixture for ReadsByStream {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        let whole = fs::read("/keys/key.pem").map_err(|error| failure(&error.to_string()))?;
        let directories = get_directories();
        let (keys, _) = directories.first().ok_or_else(|| failure("no directory"))?;
        let how = (PathFlags::empty(), OpenFlags::empty(), DescriptorFlags::READ);
        let file = keys.open_at(how.0, "key.pem", how.1, how.2);
        streams(&file.map_err(|error| failure(&format!("open: {error:?}")))?, &whole)?;
        if keys.read_via_stream(0).is_ok() {
            return Err(failure("a directory can be read as a stream"));
        }
        Ok(key_in(&request))
    }
}

fixture!(ReadsByStream);
