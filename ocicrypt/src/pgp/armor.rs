//! ASCII armor (RFC 9580, section 6).

use zeroize::Zeroizing;

use crate::encoding::base64;

const BEGIN: &str = "-----BEGIN PGP ";
const END: &str = "-----END PGP ";
const DASHES: &str = "-----";

/// The most armored blocks that are read from one file.
const MAX_BLOCKS: usize = 1000;

/// The content of an armored file.
#[derive(Default)]
pub(super) struct Armored {
    /// The content of each block; none if it is damaged.
    pub(super) blocks: Vec<Option<Zeroizing<Vec<u8>>>>,
    /// Everything outside of the blocks.
    pub(super) rest: Zeroizing<Vec<u8>>,
}

/// Whether a line begins a block.
pub(super) fn is_armored(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| label(line, BEGIN).is_some())
}

/// Splits a file into its blocks and the rest.
pub(super) fn parse(bytes: &[u8]) -> Armored {
    let mut armored = Armored::default();
    // The capacity is large enough for everything, because a growing vector leaves copies behind.
    armored.rest.reserve_exact(bytes.len() + 1);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    while let Some(line) = lines.next() {
        match label(line, BEGIN) {
            Some(label) if armored.blocks.len() < MAX_BLOCKS => {
                let block = block(label, &mut lines);
                armored.blocks.push(block);
            }
            Some(_) => {}
            None => {
                armored.rest.extend_from_slice(line);
                armored.rest.push(b'\n');
            }
        }
    }
    armored
}

/// Reads headers, an empty line, base64, and a checksum that section 6.1 says to ignore.
fn block<'a>(
    begun: &[u8],
    lines: &mut (impl Iterator<Item = &'a [u8]> + Clone),
) -> Option<Zeroizing<Vec<u8>>> {
    // The size is computed first: a growing vector leaves copies behind, and one with a capacity for
    // the whole file would take long to wipe, for each of many blocks.
    let inside = lines.clone().take_while(|line| label(line, END).is_none());
    let mut text = Zeroizing::new(Vec::with_capacity(inside.map(<[u8]>::len).sum()));
    let mut in_headers = true;
    for line in lines {
        if let Some(label) = label(line, END) {
            return base64::standard(&text).filter(|_| label == begun);
        }
        let line = line.trim_ascii();
        if in_headers && line.is_empty() {
            in_headers = false;
        } else if in_headers && line.contains(&b':') {
            continue;
        } else if !line.starts_with(b"=") {
            // Some writers omit the empty line if there is no header.
            in_headers = false;
            text.extend_from_slice(line);
        }
    }
    None
}

fn label<'a>(line: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let line = line.trim_ascii();
    line.strip_prefix(prefix.as_bytes())?.strip_suffix(DASHES.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_what_stands_between_them() {
        let text = "a\n-----BEGIN PGP X-----\r\nVersion: 1\r\n\r\naG\r\nk=\r\n=abcd\r\n\
            -----END PGP X-----\r\nb\n-----BEGIN PGP X-----\naGk=\n-----END PGP X-----\n\
            -----BEGIN PGP X-----\n\naGk=\n-----END PGP Y-----\n\
            -----BEGIN PGP X-----\n\na*k=\n-----END PGP X-----\n-----BEGIN PGP X-----\n\naGk=";
        let armored = parse(text.as_bytes());
        let blocks: Vec<_> = armored.blocks.iter().map(|b| b.as_deref().cloned()).collect();
        let good = Some(b"hi".to_vec());
        assert_eq!(blocks, [good.clone(), good, None, None, None]);
        assert_eq!(armored.rest.as_slice(), b"a\nb\n");
    }
}
