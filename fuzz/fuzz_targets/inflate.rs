//! A gzip stream, read in pieces of any size. Another inflater reads the compressed text first, and the target
//! puts header, checksum and length around it, so that the fuzzer need not guess them.

#![no_main]

use std::io::BufReader;

use keycell_guest::inflate::decompress;
use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

/// A header without fields (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The longest text, so that a run stays short.
const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let [piece, byte, rest @ ..] = bytes else { return };
    let piece = usize::from(*piece) + 1;
    // Whatever it is, it has an answer.
    let _ = read(rest, piece);

    let Some((compressed, text)) = inflated(rest) else {
        let stream = [&HEADER, rest, &trailer(b"")].concat();
        assert_eq!(read(&stream, piece), None, "only the other inflater refuses it");
        return;
    };
    let stream = [&HEADER, compressed, &trailer(&text)].concat();
    assert_eq!(read(&stream, piece).as_ref(), Some(&text), "another text comes out");
    let twice = stream.repeat(2);
    assert_eq!(read(&twice, piece), Some(text.repeat(2)), "of two members");

    let place = stream.len() - 1 - usize::from(*byte) % 8;
    let mut altered = stream.clone();
    altered[place] ^= 1;
    assert_eq!(read(&altered, piece), None, "checksum and length are not verified");
    assert_eq!(read(&stream[..place], piece), None, "it is cut off");
    assert_eq!(read(&[&stream[..], &[*byte]].concat(), piece), None, "a byte after it");
});

/// What the guest writes, unless it fails.
fn read(stream: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    let source = BufReader::with_capacity(piece, stream);
    decompress(source, Limited(&mut written)).ok().map(|()| written)
}

/// Takes as much as a run has time for.
struct Limited<'a>(&'a mut Vec<u8>);

impl std::io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > 4 * LIMIT {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The text that `bytes` begin with in compressed form, and that form.
fn inflated(bytes: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let mut text = vec![0; LIMIT];
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let result = inflate(&mut state, bytes, &mut text, MZFlush::Finish);
    (result.status == Ok(MZStatus::StreamEnd)).then(|| {
        text.truncate(result.bytes_written);
        (&bytes[..result.bytes_consumed], text)
    })
}

/// The checksum and the length of a text (RFC 1952, section 2.3.1).
fn trailer(text: &[u8]) -> [u8; 8] {
    let checksum = !text.iter().fold(u32::MAX, |checksum, byte| {
        let shift = |sum: u32| (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
        (0..8).fold(checksum ^ u32::from(*byte), |sum, _| shift(sum))
    });
    let trailer = u64::from(checksum) | (text.len() as u64) << 32;
    trailer.to_le_bytes()
}
