//! Tar archives and how they are packed, made by hand: every byte is chosen, so that what was altered
//! on purpose is a whole archive too.

use crate::image::LayerKind;

/// A tar archive (POSIX.1, ustar) of regular files.
pub fn tar<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        let size = format!("{:011o}\0", bytes.len());
        for (place, field) in [
            (100, "0000644\0"),
            (108, "0000000\0"),
            (116, "0000000\0"),
            (124, size.as_str()),
            (136, "00000000000\0"),
            (148, "        0"),
            (257, "ustar\x0000"),
        ] {
            header[place..place + field.len()].copy_from_slice(field.as_bytes());
        }
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}

/// Packs an archive without making it shorter, so that a byte of the one is a byte of the other.
pub fn packed(archive: &[u8], kind: LayerKind) -> Vec<u8> {
    match kind {
        LayerKind::Tar => archive.to_vec(),
        LayerKind::Gzip => gzip(archive),
        LayerKind::Zstd => zstd(archive),
    }
}

/// RFC 1952, with stored blocks.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        packed.push(u8::from(blocks.peek().is_none()));
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(block);
    }
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend((bytes.len() as u32).to_le_bytes());
    packed
}

/// The checksum of RFC 1952.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let shift = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc))
    })
}

/// RFC 8878, with raw blocks and without a checksum.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    const SINGLE_SEGMENT_AND_FOUR_BYTES_OF_SIZE: u8 = 0b1010_0000;
    let mut packed = vec![0x28, 0xb5, 0x2f, 0xfd, SINGLE_SEGMENT_AND_FOUR_BYTES_OF_SIZE];
    packed.extend((bytes.len() as u32).to_le_bytes());
    let mut blocks = bytes.chunks(128 * 1024).peekable();
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        packed.extend(&header.to_le_bytes()[..3]);
        packed.extend(block);
    }
    packed
}
