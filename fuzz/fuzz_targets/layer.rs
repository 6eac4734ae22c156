//! The layer cipher in pieces of any size against the same in one, and the one for WebAssembly against
//! the library's; and its reader: whole and genuine, or not to the end.

#![no_main]

use std::io::{self, Read};

use keycell_fuzz::{Fields, Fixed, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::layer::{CHUNK, Decryptor, Encryptor, LayerError, LayerKey, PlainReader, SlicedCtr};

/// The longest layer: what is held back, and released, in several chunks.
const LONGEST: u32 = 5 * CHUNK as u32;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields(bytes);
    let (harm, knows_length) = (fields.u8() % 8, fields.u8() % 2 == 1);
    let (length, place) = (fields.u32() % (LONGEST + 1), fields.u32() as usize);
    let pieces = Pieces { sizes: std::array::from_fn(|_| fields.u16()), next: 0 };
    let body = if fields.is_empty() { &[0][..] } else { fields.0 };
    let plain: Vec<u8> = body.iter().copied().cycle().take(length as usize).collect();

    let (mut sealed, key) = encrypt(&plain, pieces.clone());
    let (at_once, same_key) = encrypt(&plain, Pieces { sizes: [u16::MAX; 8], next: 0 });
    assert!(sealed == at_once && key.is_same(&same_key));
    assert_eq!(key.length(), Some(u64::from(length)));
    let mut opened = sealed.clone();
    decrypt(&mut opened, &key, pieces.clone());
    assert!(opened == plain);
    let mut sliced = sealed.clone();
    let mut cipher = SlicedCtr::new(key.key(), key.nonce());
    pieces.clone().each(&mut sliced, |piece| cipher.apply_keystream(piece));
    assert!(sliced == plain);

    let mut fails_at = None;
    let harmed = match harm {
        0 if !sealed.is_empty() => {
            let place = place % sealed.len();
            sealed[place] ^= 1 << (place % 8);
            true
        }
        1 if !sealed.is_empty() => {
            sealed.truncate(place % sealed.len());
            true
        }
        2 => {
            sealed.extend(body.iter().cycle().take(1 + place % (2 * CHUNK)));
            true
        }
        3 => {
            fails_at = Some(place % (sealed.len() + 1));
            true
        }
        _ => false,
    };
    let key = if knows_length { key } else { key.with_length(None) };
    let source = Source { bytes: &sealed, at: 0, pieces, fails_at, interrupted: false };
    read(source, &key, &plain, harmed);
});

fn encrypt(plain: &[u8], mut pieces: Pieces) -> (Vec<u8>, LayerKey) {
    let mut encryptor = Encryptor::new(&mut Fixed(1)).expect("numbers never fail");
    let mut sealed = plain.to_vec();
    pieces.each(&mut sealed, |piece| encryptor.update(piece));
    (sealed, encryptor.finish())
}

fn decrypt(sealed: &mut [u8], key: &LayerKey, mut pieces: Pieces) {
    let mut decryptor = Decryptor::new(key);
    pieces.each(sealed, |piece| decryptor.update(piece));
    decryptor.finish().expect("a genuine layer");
}

/// A genuine layer is written completely. One that is not genuine never is, and its end is held
/// back.
fn read(source: Source<'_>, key: &LayerKey, plain: &[u8], harmed: bool) {
    let sealed_length = source.bytes.len();
    let mut reader = PlainReader::new(source, key);
    let mut released = Vec::new();
    let result = loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => {
                assert!((1..=CHUNK).contains(&chunk.len()));
                released.extend_from_slice(&chunk);
                reader.reuse(chunk);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(result.is_err(), harmed);
    assert_eq!(reader.is_verified(), !harmed);
    match result {
        Ok(()) => {
            assert!(released == plain);
            assert!(matches!(reader.next_chunk(), Ok(None)));
        }
        Err(error) => {
            tell(&error);
            assert!(released.is_empty() || released.len() + CHUNK <= sealed_length);
            if key.length().is_some() {
                assert!(plain.is_empty() || released.len() < plain.len());
            }
            assert!(matches!(reader.next_chunk(), Err(LayerError::HmacMismatch)));
        }
    }
}

/// Pieces of a layer: after so many the rest comes at once, so that a run does not take long.
const MOST: usize = 256;

/// Sizes of pieces, over and over.
#[derive(Clone)]
struct Pieces {
    sizes: [u16; 8],
    next: usize,
}

impl Pieces {
    /// The size of the next piece; it may be zero.
    fn size(&mut self) -> usize {
        self.next += 1;
        if self.next > MOST { usize::MAX } else { usize::from(self.sizes[self.next % 8]) }
    }

    fn each(&mut self, mut bytes: &mut [u8], mut update: impl FnMut(&mut [u8])) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at_mut(self.size().min(bytes.len()));
            update(piece);
            bytes = rest;
        }
    }
}

/// A stream that gives pieces, is interrupted, and may fail.
struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    pieces: Pieces,
    fails_at: Option<usize>,
    interrupted: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.fails_at.is_some_and(|place| self.at >= place) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let left = &self.bytes[self.at..];
        let length = self.pieces.size().max(1).min(left.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&left[..length]);
        self.at += length;
        Ok(length)
    }
}
