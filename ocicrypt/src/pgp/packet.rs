//! Packets (RFC 9580, section 4): old and new headers, partial and indeterminate lengths.

use std::ops::Deref;

use zeroize::Zeroizing;

use super::PgpError;
use super::reader::Reader;

/// Packet types (section 5).
pub(super) mod tag {
    pub(crate) const PUBLIC_KEY_SESSION_KEY: u8 = 1;
    pub(crate) const SIGNATURE: u8 = 2;
    pub(crate) const PASSWORD_SESSION_KEY: u8 = 3;
    pub(crate) const ONE_PASS_SIGNATURE: u8 = 4;
    pub(crate) const SECRET_KEY: u8 = 5;
    pub(crate) const PUBLIC_KEY: u8 = 6;
    pub(crate) const SECRET_SUBKEY: u8 = 7;
    pub(crate) const COMPRESSED: u8 = 8;
    pub(crate) const ENCRYPTED: u8 = 9;
    pub(crate) const MARKER: u8 = 10;
    pub(crate) const LITERAL: u8 = 11;
    #[cfg(feature = "encrypt")]
    pub(crate) const TRUST: u8 = 12;
    #[cfg(feature = "encrypt")]
    pub(crate) const USER_ID: u8 = 13;
    #[cfg(feature = "encrypt")]
    pub(crate) const PUBLIC_SUBKEY: u8 = 14;
    pub(crate) const PROTECTED: u8 = 18;
    pub(crate) const GNUPG_AEAD: u8 = 20;
    pub(crate) const PADDING: u8 = 21;
    /// Software that does not know a packet of this type or above ignores it (section 4.3).
    pub(crate) const FIRST_NOT_CRITICAL: u8 = 40;
}

/// One packet.
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: Body<'a>,
}

/// The content of a packet. It is copied only if it is in pieces.
pub(super) enum Body<'a> {
    Whole(&'a [u8]),
    Joined(Zeroizing<Vec<u8>>),
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

/// The packets of a byte string. After an error, there are no more. Each packet takes at least one byte
/// of input, and packets do not nest here, so the work is bounded by the input.
pub(super) struct Packets<'a> {
    reader: Reader<'a>,
}

impl<'a> Packets<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes) }
    }

    /// How many of these bytes, which the packets are in, have been read.
    #[cfg(feature = "encrypt")]
    pub(super) fn offset(&self, bytes: &[u8]) -> usize {
        bytes.len() - self.reader.rest().len()
    }

    fn read(&mut self) -> Option<Packet<'a>> {
        let reader = &mut self.reader;
        let header = reader.u8()?;
        let (tag, length) = match header {
            0xc0.. => (header & 0x3f, Length::read(reader)?),
            0x80.. => (header >> 2 & 0xf, Length::read_old(header & 3, reader)?),
            _ => return None,
        };
        let body = match length {
            Length::Known(length) => Body::Whole(reader.take(length)?),
            _ if !may_be_streamed(tag) => return None,
            Length::Indeterminate => Body::Whole(reader.take(reader.rest().len())?),
            Length::Partial(first) => {
                // The size is computed first: a growing vector leaves copies behind, and one that is
                // too large would take long to wipe, for each of very many packets.
                let mut length = 0;
                pieces(&mut reader.clone(), first, |piece| length += piece.len())?;
                let mut joined = Zeroizing::new(Vec::with_capacity(length));
                pieces(reader, first, |piece| joined.extend_from_slice(piece))?;
                Body::Joined(joined)
            }
        };
        Some(Packet { tag, body })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PgpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let packet = self.read();
        if packet.is_none() {
            self.reader = Reader::new(&[]);
        }
        Some(packet.ok_or(PgpError::Malformed("a packet is damaged or cut off")))
    }
}

/// Reads a body in pieces (section 4.2.1.4), the first of which has this length.
fn pieces(reader: &mut Reader<'_>, first: usize, mut each: impl FnMut(&[u8])) -> Option<()> {
    let mut length = first;
    loop {
        each(reader.take(length)?);
        match Length::read(reader)? {
            Length::Partial(next) => length = next,
            Length::Known(last) => {
                each(reader.take(last)?);
                return Some(());
            }
            Length::Indeterminate => return None,
        }
    }
}

enum Length {
    Known(usize),
    Partial(usize),
    Indeterminate,
}

impl Length {
    /// Section 4.2.1.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let first = reader.u8()?;
        Some(match first {
            0..192 => Self::Known(usize::from(first)),
            192..224 => {
                let second = reader.u8()?;
                Self::Known((usize::from(first) - 192) << 8 | usize::from(second)).plus(192)
            }
            224..255 => Self::Partial(1 << (first & 0x1f)),
            255 => Self::Known(usize::try_from(reader.u32()?).ok()?),
        })
    }

    /// Section 4.2.2.
    fn read_old(kind: u8, reader: &mut Reader<'_>) -> Option<Self> {
        Some(match kind {
            0 => Self::Known(usize::from(reader.u8()?)),
            1 => Self::Known(usize::from(u16::from_be_bytes(reader.array()?))),
            2 => Self::Known(usize::try_from(reader.u32()?).ok()?),
            _ => Self::Indeterminate,
        })
    }

    fn plus(self, more: usize) -> Self {
        match self {
            Self::Known(length) => Self::Known(length + more),
            other => other,
        }
    }
}

/// Only packets with data may be in pieces or without a length (section 4.2.1.4).
fn may_be_streamed(tag: u8) -> bool {
    use tag::*;
    matches!(tag, COMPRESSED | ENCRYPTED | LITERAL | PROTECTED | GNUPG_AEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
        let packets = Packets::new(bytes).collect::<Result<Vec<_>, _>>().ok()?;
        Some(packets.into_iter().map(|packet| (packet.tag, packet.body.to_vec())).collect())
    }

    #[test]
    fn every_form_of_a_header() {
        let long = [7; 8383 + 192];
        for (header, length) in [
            (&[0xcb, 0][..], 0),
            (&[0xcb, 191], 191),
            (&[0xcb, 192, 0], 192),
            (&[0xcb, 223, 255], 8383),
            (&[0xcb, 255, 0, 0, 0, 3], 3),
            (&[0xac, 5], 5),
            (&[0xad, 1, 0], 256),
            (&[0xae, 0, 0, 0, 2], 2),
            (&[0xaf], 77),
            (&[0xcb, 0xe0, 7, 0xe1, 7, 7, 0], 0),
        ] {
            let packet = [header, &long[..length]].concat();
            let whole = bodies(&packet).unwrap_or_else(|| panic!("{header:x?}"));
            assert_eq!(whole[0].0, tag::LITERAL, "{header:x?}");
            assert!(whole[0].1.iter().all(|byte| *byte == 7));
            let cut = &packet[..packet.len() - 1];
            assert!(header == [0xaf] || bodies(cut).is_none(), "{header:x?}");
        }
        assert_eq!(bodies(&[0xcb, 0xe1, 1, 2, 0xe0, 3, 1, 4]), Some(vec![(11, vec![1, 2, 3, 4])]));
    }

    #[test]
    fn what_is_no_packet() {
        for bytes in [
            &[0x00][..],
            &[0x7f, 0],
            &[0xcb],
            &[0xcb, 255, 255, 255, 255, 255],
            &[0xcb, 0xfe],
            &[0xcb, 0xe0, 1],
            &[0xc1, 0xe0, 1, 0],
            &[0x87, 1],
        ] {
            assert!(bodies(bytes).is_none(), "{bytes:x?}");
        }
    }
}
