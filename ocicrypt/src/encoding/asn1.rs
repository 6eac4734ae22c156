//! ASN.1 in BER (X.690), which is converted to definite lengths in one pass and then read.
//!
//! Signed and enveloped messages that were written as a stream have indefinite lengths and octet
//! strings in pieces. [`definite`] gives every element its length in the shortest form, as Go's
//! `ber2der` does. So later code reads only one form, and names are compared byte for byte.

/// The deepest nesting of elements. A message has at most twelve levels, apart from nested pieces.
const MAX_DEPTH: usize = 32;

/// The most elements of one message: a recipient has about twenty.
const MAX_ELEMENTS: usize = 1 << 18;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The bit of a tag that marks an element with elements inside.
pub(crate) const CONSTRUCTED: u8 = 0x20;

/// The tag of the element `[number]` without elements inside; add [`CONSTRUCTED`] for one with elements
/// inside.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// Rewrites the element that `bytes` begin with so that all lengths are definite and minimal. Bytes
/// after it are ignored. None if it is damaged, or nested too deeply. Time and space are proportional
/// to the input, whatever lengths it states.
pub(crate) fn definite(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut nodes = scan(bytes)?;
    // Children come after their parents, so in reverse order every size is known when it is needed.
    for index in (1..nodes.len()).rev() {
        let whole = nodes[index].tag.len() + length_size(nodes[index].size) + nodes[index].size;
        let parent = nodes[index].parent;
        nodes[parent].size += whole;
    }
    let mut output = Vec::with_capacity(nodes[0].size + 16);
    for node in &nodes {
        output.extend_from_slice(node.tag);
        write_length(node.size, &mut output);
        output.extend_from_slice(node.content);
    }
    Some(output)
}

/// One element of the input.
struct Node<'a> {
    tag: &'a [u8],
    /// Empty if there are elements inside.
    content: &'a [u8],
    size: usize,
    parent: usize,
}

/// An element whose end has not been reached.
struct Open {
    node: usize,
    /// The last position at which it may end.
    limit: usize,
    /// Whether two zero bytes end it.
    indefinite: bool,
}

/// Lists all elements of the first one, in order.
fn scan(bytes: &[u8]) -> Option<Vec<Node<'_>>> {
    let mut nodes: Vec<Node<'_>> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    loop {
        let limit = open.last().map_or(bytes.len(), |element| element.limit);
        let header = Header::read(bytes.get(at..limit)?)?;
        if header.tag == [0] {
            // These two zero bytes end an element of indefinite length, and mean nothing else.
            let ended = open.pop().filter(|element| element.indefinite);
            if header.length != Some(0) || header.size != 2 || ended.is_none() {
                return None;
            }
            at += 2;
        } else {
            let start = at + header.size;
            let end = match header.length {
                Some(length) => start.checked_add(length).filter(|end| *end <= limit)?,
                None => limit,
            };
            let constructed = header.tag[0] & CONSTRUCTED != 0;
            let content = if constructed { &[][..] } else { bytes.get(start..end)? };
            if nodes.len() == MAX_ELEMENTS || header.length.is_none() && !constructed {
                return None;
            }
            let parent = open.last().map_or(0, |element| element.node);
            nodes.push(Node { tag: header.tag, content, size: content.len(), parent });
            if constructed {
                if open.len() == MAX_DEPTH {
                    return None;
                }
                let (node, indefinite) = (nodes.len() - 1, header.length.is_none());
                open.push(Open { node, limit: end, indefinite });
                at = start;
            } else {
                at = end;
            }
        }
        while open.last().is_some_and(|element| !element.indefinite && element.limit == at) {
            open.pop();
        }
        if open.is_empty() {
            return Some(nodes);
        }
    }
}

/// The tag and the length of an element.
struct Header<'a> {
    tag: &'a [u8],
    /// None if it is indefinite.
    length: Option<usize>,
    /// How many bytes tag and length take.
    size: usize,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        // Numbers above 30 continue in further bytes; no element here has more than one of those.
        let tag_size = if bytes.first()? & 0x1f == 0x1f { 2 } else { 1 };
        let (tag, rest) = bytes.split_at_checked(tag_size)?;
        if tag.get(1).is_some_and(|more| more & 0x80 != 0) {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, extra) = match first {
            0..=0x7f => (Some(usize::from(first)), 0),
            0x80 => (None, 0),
            _ => {
                let extra = usize::from(first & 0x7f);
                let length = rest.get(..extra)?;
                let zeros = length.iter().take_while(|byte| **byte == 0).count();
                // A length of more than four bytes exceeds the memory.
                let length = Some(&length[zeros..]).filter(|length| length.len() <= 4)?;
                let length = length.iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
                (Some(usize::try_from(length).ok()?), extra)
            }
        };
        Some(Self { tag, length, size: tag_size + 1 + extra })
    }
}

fn length_size(length: usize) -> usize {
    if length < 0x80 { 1 } else { 1 + (usize::BITS - length.leading_zeros()).div_ceil(8) as usize }
}

fn write_length(length: usize, output: &mut Vec<u8>) {
    let extra = length_size(length) - 1;
    if extra == 0 {
        return output.push(length as u8);
    }
    output.push(0x80 | extra as u8);
    output.extend_from_slice(&length.to_be_bytes()[size_of::<usize>() - extra..]);
}

/// A SEQUENCE of these elements.
pub(crate) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, elements)
}

/// An element with the tag `tag` and this content, which may be in parts.
pub(crate) fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let size: usize = content.iter().map(|part| part.len()).sum();
    let mut output = vec![tag];
    write_length(size, &mut output);
    content.iter().for_each(|part| output.extend_from_slice(part));
    output
}

/// Reads elements with definite lengths, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// One element.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    /// The tag; no element that is read has a tag of more than one byte.
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// The whole element, with tag and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next element.
    pub(crate) fn any(&mut self) -> Option<Element<'a>> {
        let header = Header::read(self.0)?;
        let whole = header.size.checked_add(header.length?)?;
        let (whole, rest) = self.0.split_at_checked(whole)?;
        self.0 = rest;
        Some(Element { tag: header.tag[0], content: &whole[header.size..], whole })
    }

    /// The next element, which must have the tag `tag`.
    pub(crate) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// The next element, if it has the tag `tag`.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let found = ahead.element(tag)?;
        *self = ahead;
        Some(found)
    }

    /// A reader of the elements inside the next element, which must have the tag `tag`.
    pub(crate) fn inside(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.element(tag).map(|element| Reader(element.content))
    }

    /// The bytes that have not been read.
    #[cfg(feature = "encrypt")]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Element<'a> {
    /// The content of an octet string, or of an equivalent element with another tag, in one piece or in
    /// many. [`definite`] has limited its depth; other elements are refused if they are nested too
    /// deeply.
    pub(crate) fn octets(&self) -> Option<Vec<u8>> {
        let mut octets = Vec::with_capacity(self.content.len());
        self.collect(&mut octets, MAX_DEPTH)?;
        Some(octets)
    }

    fn collect(&self, octets: &mut Vec<u8>, depth: usize) -> Option<()> {
        if self.tag & CONSTRUCTED == 0 {
            octets.extend_from_slice(self.content);
            return Some(());
        }
        let mut pieces = Reader(self.content);
        while !pieces.is_empty() {
            let piece = pieces.any().filter(|piece| piece.tag & !CONSTRUCTED == OCTET_STRING)?;
            piece.collect(octets, depth.checked_sub(1)?)?;
        }
        Some(())
    }
}

/// A number without redundant leading bytes, so that equal numbers are equal byte for byte.
pub(crate) fn trim_integer(mut number: &[u8]) -> &[u8] {
    while let [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] = number {
        number = &number[1..];
    }
    number
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn indefinite_and_long_lengths_become_short() {
        let pieces = [0x24, 0x80, 4, 1, 7, 0x24, 0x81, 4, 4, 0x82, 0, 0, 0, 0];
        assert_eq!(definite(&pieces).unwrap(), [0x24, 7, 4, 1, 7, 0x24, 2, 4, 0]);
        let joined = Reader::new(&definite(&pieces).unwrap()).any().unwrap().octets();
        assert_eq!(joined.unwrap(), [7]);
        // Bytes after it are ignored.
        assert_eq!(definite(&[4, 1, 7, 9, 9]).unwrap(), [4, 1, 7]);
        // This element grows, because the lengths around it must.
        let long = [&[0x30, 0x80, 4, 0x82, 1, 0][..], &[5; 256], &[0, 0]].concat();
        let wanted = [&[0x30, 0x82, 1, 4, 4, 0x82, 1, 0][..], &[5; 256]].concat();
        assert_eq!(definite(&long).unwrap(), wanted);
        assert_eq!(
            definite(&[0x30, 0x80, 0x10, 2, 0x80, 9, 0, 0]).unwrap(),
            [0x30, 4, 0x10, 2, 0x80, 9]
        );
    }

    #[test]
    fn damage() {
        for bytes in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[0, 0],
            &[0x30, 0x80],
            &[0x30, 0x80, 0],
            &[0x30, 0x80, 0, 1, 0],
            &[0x30, 2, 0, 0],
            &[0x30, 2, 4, 1, 7],
            &[0x30, 4, 0x30, 0x80, 4, 0, 0, 0],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
            &[0x30, 0xff, 0xff, 0xff],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0x81, 1, 0],
        ] {
            assert!(definite(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn bombs() {
        assert!(definite(&[0x30, 0x80].repeat(1_000_000)).is_none());
        assert!(definite(&[0x24, 0x84, 0, 0, 0xff, 0xff].repeat(1000)).is_none());
        let deep = |depth: usize| [[0x30, 0x80].repeat(depth), [0, 0].repeat(depth)].concat();
        assert!(definite(&deep(MAX_DEPTH)).is_some());
        assert!(definite(&deep(MAX_DEPTH + 1)).is_none());
        let many = |count: usize| [&[0x30, 0x80][..], &[4, 0].repeat(count), &[0, 0]].concat();
        assert!(definite(&many(MAX_ELEMENTS - 1)).is_some());
        assert!(definite(&many(MAX_ELEMENTS)).is_none());
        let nested = (0..200u8).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut outer = vec![0x24];
            write_length(inner.len(), &mut outer);
            outer.extend(inner);
            outer
        });
        assert!(Reader::new(&nested).any().unwrap().octets().is_none());
    }

    #[test]
    fn numbers_without_what_says_nothing() {
        assert_eq!(trim_integer(&[0, 0, 0x80]), [0, 0x80]);
        assert_eq!(trim_integer(&[0xff, 0xff, 0x7f]), [0xff, 0x7f]);
        assert_eq!(trim_integer(&[0, 0]), [0]);
        assert_eq!(trim_integer(&[]), [0u8; 0]);
    }
}
