//! Gzip streams (RFC 1952), good and bad ones. `gzip` makes them; some are altered afterwards.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::archive::{crc32, packed};
use crate::image::LayerKind;
use crate::tools::fed;

/// The lengths of what stands around the compressed text: a header without fields, and the checksum and
/// the length of the text.
const HEADER: usize = 10;
const TRAILER: usize = 8;

/// Bits of the header's flags.
const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 1 << 5;

/// A gzip stream.
pub struct Stream {
    /// What is special about it.
    pub name: &'static str,
    /// The stream.
    pub bytes: Vec<u8>,
    /// What was compressed.
    pub text: Vec<u8>,
    /// Whether it is a gzip stream still.
    pub is_valid: bool,
}

/// Every stream of a text that matters to a decompressor. The text must be longer than a few kilobytes.
///
/// # Errors
///
/// `gzip` fails.
pub fn streams(text: &[u8]) -> Result<Vec<Stream>> {
    let good = |name, bytes| Stream { name, bytes, text: text.to_vec(), is_valid: true };
    let bad = |name, bytes| Stream { name, bytes, text: text.to_vec(), is_valid: false };
    let one = gzip(&["--no-name"], text)?;
    let empty = gzip(&["--no-name"], b"")?;
    let (half, rest) = text.split_at(text.len() / 2);
    let two = [gzip(&["-1"], half)?, gzip(&["-9"], rest)?];
    let end = one.len() - TRAILER;
    let altered = |at: usize| {
        let mut bytes = one.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut with_wrong_checksum = with_fields(&one, HEADER_CHECKSUM);
    with_wrong_checksum[HEADER] ^= 1;
    Ok(vec![
        good("one-member", one.clone()),
        good("best-compression", gzip(&["-9"], text)?),
        good("stored", packed(text, LayerKind::Gzip)),
        good("two-members", two.concat()),
        good("many-members", members(text, 1000)),
        good("empty-members", [&empty[..], &two[0], &empty, &empty, &two[1], &empty].concat()),
        // eStargz ends so: an empty member that has its table of contents' place in an extra field.
        good(
            "empty-member-with-a-field-at-its-end",
            [&one[..], &with_fields(&empty, EXTRA)].concat(),
        ),
        good("a-name", with_fields(&one, NAME)),
        good("all-fields", with_fields(&one, HEADER_CHECKSUM | EXTRA | NAME | COMMENT)),
        Stream { text: Vec::new(), ..good("empty", empty.clone()) },
        bad("cut-off-in-the-header", one[..HEADER - 1].to_vec()),
        bad("cut-off-after-the-header", one[..HEADER].to_vec()),
        bad("cut-off-in-the-middle", one[..one.len() / 2].to_vec()),
        bad("cut-off-before-the-checksum", one[..end].to_vec()),
        bad("cut-off-before-the-last-byte", one[..one.len() - 1].to_vec()),
        bad("cut-off-in-the-second-header", [&one[..], &one[..5]].concat()),
        bad("cut-off-in-the-second-member", [&two[0][..], &two[1][..500]].concat()),
        bad("other-content", altered(end - 5000)),
        bad("wrong-checksum", altered(end)),
        bad("wrong-length", altered(end + 4)),
        bad("wrong-checksum-of-the-header", with_wrong_checksum),
        bad("second-member-of-another-kind", [&one[..], b"PK\x03\x04", &[0; 100]].concat()),
        bad("one-zero-after-it", [&one[..], b"\0"].concat()),
        bad("padded-with-zeros", [&one[..], &[0; 512]].concat()),
        bad("other-bytes-after-it", [&one[..], b"more"].concat()),
        bad("a-reserved-flag", with_flags(&one, RESERVED)),
    ])
}

/// Compresses a text with `gzip`.
///
/// # Errors
///
/// `gzip` fails.
pub fn gzip(flags: &[&str], text: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new("gzip");
    command.args(flags).arg("-c");
    let output = fed(command, &[text])?;
    ensure!(output.status.success(), "gzip: {}", output.status);
    Ok(output.stdout)
}

/// A member for each piece of the text, as `pigz --independent` or eStargz have them.
fn members(text: &[u8], piece: usize) -> Vec<u8> {
    text.chunks(piece).flat_map(|piece| packed(piece, LayerKind::Gzip)).collect()
}

/// A stream whose header has no fields, with these (RFC 1952, section 2.3).
fn with_fields(stream: &[u8], flags: u8) -> Vec<u8> {
    let mut header = with_flags(&stream[..HEADER], flags);
    if flags & EXTRA != 0 {
        header.extend(b"\x08\0SG\x04\0abcd");
    }
    if flags & NAME != 0 {
        header.extend(b"layer.tar\0");
    }
    if flags & COMMENT != 0 {
        header.extend(b"a comment\0");
    }
    if flags & HEADER_CHECKSUM != 0 {
        let checksum = crc32(&header);
        header.extend(&checksum.to_le_bytes()[..2]);
    }
    [&header, &stream[HEADER..]].concat()
}

fn with_flags(stream: &[u8], flags: u8) -> Vec<u8> {
    let mut stream = stream.to_vec();
    stream[3] = flags;
    stream
}
