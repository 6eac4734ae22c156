//! What editors, shells and secret stores do to a key's text, and how it is undone.
//!
//! Each has one meaning only: another encoding of characters, base64 around the whole, `\n` written out,
//! lost ends of lines, blocks that were joined. None of it is tried where the file can be read as it is.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::encoding::base64;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// [`BEGIN`] in base64, as far as the following characters do not change it.
const BEGIN_IN_BASE64: &[u8] = b"LS0tLS1CRUdJTi";

/// The text without a byte order mark, and as ASCII if it is UTF-16. Bytes that are neither stay as they
/// are.
pub fn decoded_text(bytes: &[u8]) -> Cow<'_, [u8]> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let mut text = Vec::with_capacity(rest.len() / 2);
        for pair in rest.chunks_exact(2) {
            // No key has other characters.
            text.push(u8::try_from(unit([pair[0], pair[1]])).ok().filter(u8::is_ascii)?);
        }
        rest.len().is_multiple_of(2).then_some(text)
    };
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => return Cow::Borrowed(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'-' | b'{', 0, b'-' | b'"' | b'\r' | b'\n' | b' ', 0, ..] => {
            utf16(bytes, u16::from_le_bytes)
        }
        [0, b'-' | b'{', 0, b'-' | b'"' | b'\r' | b'\n' | b' ', ..] => {
            utf16(bytes, u16::from_be_bytes)
        }
        _ => None,
    };
    text.map_or(Cow::Borrowed(bytes), Cow::Owned)
}

/// PEM with every delimiter on a line of its own, out of text in which blocks stand in other ways: in one
/// line, after each other, with `\n` written out as in JSON, or in base64. None if there is no block.
pub fn unwrapped(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // Nothing that is added is longer than what is taken away, but for the ends of lines.
    let mut pem = Zeroizing::new(Vec::with_capacity(2 * bytes.len() + 64));
    let mut rest = bytes;
    while let Some(at) = find(rest, BEGIN) {
        let block = &rest[at..];
        let Some(end) = end_of_block(block) else { break };
        add_block(&block[..end], &mut pem);
        rest = &block[end..];
    }
    if pem.is_empty() {
        let at = find(bytes, BEGIN_IN_BASE64)?;
        let text = &bytes[at..];
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte);
        let length = text.iter().take_while(|byte| is_base64(byte)).count();
        let inner = base64::standard(text[..length].trim_ascii())?;
        // One level only: nobody wraps a key more than twice.
        return find(&inner, BEGIN).map(|_| inner);
    }
    Some(pem)
}

/// The length of a block: up to the five dashes after its END.
fn end_of_block(block: &[u8]) -> Option<usize> {
    let end = find(block, END)?;
    let label = &block[end + END.len()..];
    let dashes = find(label, DASHES)?;
    Some(end + END.len() + dashes + DASHES.len())
}

/// Adds a block with its delimiters on lines of their own, and `\n` that is written out as ends of lines.
fn add_block(block: &[u8], pem: &mut Vec<u8>) {
    let Some(label) = find(&block[BEGIN.len()..], DASHES) else { return };
    let Some(end) = find(block, END) else { return };
    let (begin, body) = block[..end].split_at((BEGIN.len() + label + DASHES.len()).min(end));
    let mut body = body.iter().copied().peekable();
    pem.extend_from_slice(begin);
    pem.push(b'\n');
    while let Some(byte) = body.next() {
        match (byte, body.peek()) {
            (b'\\', Some(b'n' | b'r')) => {
                body.next();
                pem.push(b'\n');
            }
            // A carriage return alone ended lines once.
            (b'\r', _) => pem.push(b'\n'),
            _ => pem.push(byte),
        }
    }
    pem.push(b'\n');
    pem.extend_from_slice(&block[end..]);
    pem.push(b'\n');
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
