//! The encrypted content: a literal, which may be compressed and signed.

use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};
use zeroize::Zeroizing;

use super::PgpError;
use super::packet::{Packets, tag};
use super::reader::Reader;
use crate::budget::{Budget, cost};

/// The deepest nesting of compressed data. Programs write one level.
const MAX_DEPTH: usize = 2;

/// The size in bytes that decompressed data may always have, as in JWE.
const ALWAYS: usize = 250_000;

/// The limit for larger data, as a multiple of the encrypted size.
const RATIO: usize = 10;

/// Returns the data of the literal packet among decrypted packets. Signatures are ignored, because the
/// sender who wraps a key need not be known.
pub(super) fn literal(packets: &[u8], budget: &mut Budget) -> Result<Zeroizing<Vec<u8>>, PgpError> {
    read(packets, ALWAYS.max(packets.len().saturating_mul(RATIO)), 0, budget)
}

fn read(
    packets: &[u8],
    limit: usize,
    depth: usize,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, PgpError> {
    let mut content = None;
    for packet in Packets::new(packets) {
        let packet = packet.map_err(|_| PgpError::Content("a packet is damaged or cut off"))?;
        let found = match packet.tag {
            tag::LITERAL => data(&packet.body)?,
            tag::COMPRESSED if depth == MAX_DEPTH => {
                return Err(PgpError::Content("it is compressed too often"));
            }
            tag::COMPRESSED => {
                let packets = decompress(&packet.body, limit, budget)?;
                read(&packets, limit, depth + 1, budget)?
            }
            tag::SIGNATURE | tag::ONE_PASS_SIGNATURE | tag::MARKER | tag::PADDING => continue,
            tag::FIRST_NOT_CRITICAL.. => continue,
            _ => return Err(PgpError::Content("a packet is out of place")),
        };
        if content.replace(found).is_some() {
            return Err(PgpError::Content("there is more than one literal"));
        }
    }
    content.ok_or(PgpError::Content("there is no literal"))
}

/// The data of a literal (RFC 9580, section 5.9), after its format, file name and date.
fn data(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, PgpError> {
    let mut reader = Reader::new(body);
    let header = (reader.u8(), reader.prefixed(), reader.u32());
    match header {
        (Some(_), Some(_), Some(_)) => Ok(Zeroizing::new(reader.rest().to_vec())),
        _ => Err(PgpError::Content("a literal is cut off")),
    }
}

/// Section 5.6. The cost is known only afterwards; `limit` bounds it.
fn decompress(
    body: &[u8],
    limit: usize,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, PgpError> {
    let (algorithm, data) = body.split_first().ok_or(PgpError::Compression)?;
    let result = match algorithm {
        0 => return Ok(Zeroizing::new(data.to_vec())),
        1 => decompress_to_vec_with_limit(data, limit),
        2 => decompress_to_vec_zlib_with_limit(data, limit),
        3 => return Err(PgpError::unsupported("compression", "bzip2")),
        other => return Err(PgpError::unsupported_number("compression", *other)),
    };
    let length = result.as_ref().map_or(limit, Vec::len);
    budget.spend_on_bytes(length, cost::INFLATED)?;
    match result {
        Ok(plain) => Ok(Zeroizing::new(plain)),
        Err(mut error) => {
            zeroize::Zeroize::zeroize(&mut error.output);
            Err(PgpError::Compression)
        }
    }
}
