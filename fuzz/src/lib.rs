//! What the fuzz targets share: fixed keys, random numbers that are none, and what must hold of
//! every text that Keycell shows.

#![forbid(unsafe_code)]

pub mod provider;

use std::convert::Infallible;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use ocicrypt::bounds::Bounds;
use ocicrypt::jwe::{Jwe, JweError, Search};
use ocicrypt::keyring::{KeyRing, NamedKey};
use ocicrypt::keys::Which;
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

/// Characters that a text for the operator may have: what is longer lets hostile bytes through.
const LONGEST_TEXT: usize = 16 * 1024;

/// The file `$name` of the library's test data.
#[macro_export]
macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ocicrypt/tests/data/", $name))
    };
}

/// A ring of these files.
pub fn ring(files: &[(&str, &[u8])]) -> KeyRing {
    let mut ring = KeyRing::new();
    files.iter().for_each(|(name, bytes)| ring.add_file(name, bytes));
    assert!(ring.skipped().is_empty(), "{}", ring.skipped()[0]);
    ring
}

/// Opens a JWE with the keys of `ring`.
///
/// # Errors
/// Why none opens it.
pub fn open_jwe(
    jwe: &mut Jwe,
    ring: &'static KeyRing,
) -> Result<Zeroizing<Vec<u8>>, Vec<JweError>> {
    let keys: Vec<_> = ring.keys().map(NamedKey::key).collect();
    let (mut search, mut bounds) = (Search::default(), Bounds::default());
    for which in [Which::Named, Which::AnyKey] {
        let opened = jwe.open(which, &keys, &mut search, &mut bounds, &mut Fixed(0));
        if let Some(opened) = opened {
            return Ok(opened.content);
        }
    }
    Err(jwe.failures())
}

/// Panics unless `text` may be shown: not empty, not endless, nothing that moves the cursor.
pub fn tell(text: &impl Display) {
    let text = text.to_string();
    assert!(!text.is_empty(), "an empty text");
    assert!(text.chars().count() <= LONGEST_TEXT, "a text without end: {text}");
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
}

/// Standard base64, as the format has it everywhere outside of JWE.
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// A file for what is read from files, gone when dropped.
pub struct OwnFile(PathBuf);

impl OwnFile {
    /// With this content.
    pub fn with(content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("keycell-fuzz-{}", std::process::id()));
        std::fs::write(&path, content).expect("a file of our own");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes the fields of a structured input from its front. What is missing is zero.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn u8(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// As many bytes as the two before them say, or what is left.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.u16()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Random numbers that are the same in every run, so that a finding can be repeated.
pub struct Fixed(pub u64);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    // SplitMix64
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
