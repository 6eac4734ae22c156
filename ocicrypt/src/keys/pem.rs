//! PEM (RFC 7468), as tolerant as Go's `encoding/pem`: text around the blocks, headers (RFC 1421)
//! and lines of any length.

use zeroize::Zeroizing;

use super::{Contents, NotAKey, Opener, der};
use crate::base64;
use crate::text::printable;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Whether there is the beginning of a block.
pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// Reads all blocks.
pub(super) fn parse(bytes: &[u8], opener: &mut Opener<'_>, parsed: &mut Contents) {
    let mut curve = None;
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = delimited(line, BEGIN) else { continue };
        if parsed.is_full() {
            return;
        }
        let mut after = lines.clone();
        let Some(block) = Block::read(label, &mut after) else {
            // As in Go, the next block may begin before this one ends.
            parsed.add(Err(NotAKey::Malformed("PEM")));
            continue;
        };
        lines = after;
        let content = block.content.as_slice();
        match label {
            "EC PARAMETERS" => curve = der::parse_curve(content),
            _ if block.dek_info.is_some() => {
                let dek_info = block.dek_info.as_deref().unwrap_or_default();
                parsed.add(opener.close_pem(dek_info, content, curve));
            }
            "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                parsed.add_certificate(content);
            }
            label if label.ends_with("PUBLIC KEY") => parsed.add(Err(NotAKey::PublicKey)),
            // The content decides, not the label: as in Go, any form may stand under any.
            label if label.ends_with("PRIVATE KEY") && !label.starts_with("OPENSSH") => {
                parsed.add(der::parse(content, curve, opener));
            }
            label => parsed.add(Err(NotAKey::OtherPem(printable(label)))),
        }
    }
}

/// The label and the content of each block; no content where it is damaged.
#[cfg(feature = "encrypt")]
pub(crate) fn blocks(bytes: &[u8]) -> impl Iterator<Item = (&str, Option<Zeroizing<Vec<u8>>>)> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    std::iter::from_fn(move || {
        let label = lines.find_map(|line| delimited(line, BEGIN))?;
        let mut after = lines.clone();
        let block = Block::read(label, &mut after);
        if block.is_some() {
            lines = after;
        }
        Some((label, block.map(|block| block.content)))
    })
}

/// One block between its delimiters.
struct Block {
    dek_info: Option<String>,
    content: Zeroizing<Vec<u8>>,
}

impl Block {
    /// Reads up to the END line of `label`; none if another block begins or ends first, or the
    /// content is not base64.
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
                // Base64 has no colon, so this is a header.
                Some(colon) => {
                    let (name, value) = line.split_at(colon);
                    if name == b"DEK-Info" {
                        let value = String::from_utf8_lossy(&value[1..]);
                        dek_info = Some(value.trim().to_owned());
                    }
                }
                None => {
                    if text.capacity() - text.len() < line.len() {
                        // By hand, because a vector that grows leaves its old copy behind.
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
