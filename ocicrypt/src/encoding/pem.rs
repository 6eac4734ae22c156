//! PEM (RFC 7468), with the same tolerance as Go's `encoding/pem`: text around the blocks, headers (RFC
//! 1421) and lines of any length.

use zeroize::Zeroizing;

use super::base64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Whether the bytes contain the beginning of a block.
pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// The label of each block, and the block; none if it is damaged. As in Go, the next block may begin
/// before a damaged one ends.
pub(crate) fn blocks(bytes: &[u8]) -> impl Iterator<Item = (&str, Option<Block>)> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    std::iter::from_fn(move || {
        let label = lines.find_map(|line| delimited(line, BEGIN))?;
        let mut after = lines.clone();
        let block = Block::read(label, &mut after);
        if block.is_some() {
            lines = after;
        }
        Some((label, block))
    })
}

/// One block between its delimiters.
pub(crate) struct Block {
    /// The value of the header `DEK-Info`, which describes how the content is encrypted.
    pub(crate) dek_info: Option<String>,
    pub(crate) content: Zeroizing<Vec<u8>>,
}

impl Block {
    /// Reads up to the END line of `label`. It returns none if another block begins or ends first, or
    /// the content is not base64.
    fn read<'a>(label: &str, lines: &mut impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut dek_info = None;
        let mut text = Zeroizing::new(Vec::new());
        for line in lines {
            if let Some(end) = delimited(line, END) {
                let content = base64::standard(&text)?;
                return (end == label).then_some(Self { dek_info, content });
            }
            if delimited(line, BEGIN).is_some() {
                return None;
            }
            match line.iter().position(|byte| *byte == b':') {
                // Base64 has no colon, so this line is a header.
                Some(colon) => {
                    let (name, value) = line.split_at(colon);
                    if name == b"DEK-Info" {
                        let value = String::from_utf8_lossy(&value[1..]);
                        dek_info = Some(value.trim().to_owned());
                    }
                }
                None => {
                    if text.capacity() - text.len() < line.len() {
                        // The vector is replaced explicitly, because a growing vector leaves its old
                        // copy behind.
                        let mut larger = Vec::with_capacity(2 * (text.len() + line.len() + 2048));
                        larger.extend_from_slice(&text);
                        text = Zeroizing::new(larger);
                    }
                    text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
                }
            }
        }
        None
    }
}

/// The label of a delimiter line.
fn delimited<'a>(line: &'a [u8], prefix: &str) -> Option<&'a str> {
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix(prefix)?.strip_suffix(DASHES)
}
