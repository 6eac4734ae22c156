//! Decompresses a layer: gzip (RFC 1952) in, the tar archive out.

use std::io::{self, BufRead, Cursor, Read, Write};

use flate2::bufread::MultiGzDecoder;
use keycell_diagnostic::hint::UnwrapHint;

use crate::failure::Failure;
use crate::steps::unwritable;

/// The first bytes of gzip: its identification and the only compression method.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// The bytes that are written at once.
const PIECE: usize = 128 * 1024;

/// Copies `source` to `sink`, and decompresses it if it is compressed with gzip.
///
/// All members are decompressed, one after another. Go's gzip, which containerd uses, does the same. Like
/// Go, this refuses bytes after the last member.
///
/// # Errors
/// The gzip stream is damaged or cut off, or `source` or `sink` fails.
pub fn decompress(mut source: impl BufRead, sink: impl Write) -> Result<(), Failure> {
    let beginning = peek(&mut source).map_err(|error| unreadable(&error))?;
    let is_gzip = beginning == GZIP;
    let source = Cursor::new(beginning).chain(source);
    let copied = match is_gzip {
        true => pump(MultiGzDecoder::new(source), sink),
        false => pump(source, sink),
    };
    copied.map_err(|error| match error {
        Broken::Source(error) => unreadable(&error),
        Broken::Sink(error) => unwritable(error),
    })
}

/// Reads as many bytes as tell whether this is gzip, or all of a shorter source.
fn peek(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    source.take(GZIP.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning)
}

/// Copies `source` to `sink`.
///
/// # Errors
/// `source` or `sink` fails.
pub fn copy(source: impl Read, sink: impl Write) -> Result<(), Failure> {
    pump(source, sink).map_err(|error| match error {
        Broken::Source(error) => {
            let message = format!("the layer cannot be read: {error}");
            Failure::new(message, UnwrapHint::ContractBroken)
        }
        Broken::Sink(error) => unwritable(error),
    })
}

/// Which side failed.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

fn pump(mut source: impl Read, mut sink: impl Write) -> Result<(), Broken> {
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return sink.flush().map_err(Broken::Sink),
            Ok(length) => sink.write_all(&piece[..length]).map_err(Broken::Sink)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Broken::Source(error)),
        }
    }
}

/// The layer cannot be decompressed. If it cannot be read, the host knows why and reports that instead.
fn unreadable(error: &io::Error) -> Failure {
    Failure::new(format!("the layer cannot be decompressed: {error}"), UnwrapHint::DamagedGzip)
}
