//! Files with OpenPGP keys: transferable secret keys (RFC 9580, section 10.2), binary or armored.

use zeroize::Zeroizing;

use super::packet::{Packets, tag};
use super::{PgpError, PgpKey, armor};
use crate::encoding::text::printable;

/// The packets that identify a file with keys, if it begins with one of them.
const KINDS: [u8; 3] = [tag::SECRET_KEY, tag::SECRET_SUBKEY, tag::PUBLIC_KEY];

/// The most keys in one file.
const MAX_KEYS: usize = 1000;

/// The content of a file with OpenPGP keys.
#[derive(Default)]
pub(crate) struct KeyFile {
    /// The keys that can decrypt, in the order of the file.
    pub(crate) keys: Vec<PgpKey>,
    /// Why the other parts of the file are not used.
    pub(crate) refused: Vec<KeyFileError>,
    /// The text outside of armored blocks, which may have other keys.
    pub(crate) rest: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// Parses a file; none if it does not look like OpenPGP. Keys are not unlocked here, but keep the
    /// password.
    pub(crate) fn parse(bytes: &[u8], password: Option<&[u8]>) -> Option<Self> {
        let mut file = Self::default();
        if is_binary(bytes) {
            file.add(bytes, password);
        } else if armor::is_armored(bytes) {
            let armored = armor::parse(bytes);
            for block in armored.blocks {
                match block {
                    Some(block) if is_binary(&block) => file.add(&block, password),
                    Some(_) => file.refused.push(KeyFileError::Armored),
                    None => file.refused.push(KeyFileError::Armor),
                }
            }
            file.rest = armored.rest;
        } else {
            return None;
        }
        Some(file)
    }

    fn add(&mut self, bytes: &[u8], password: Option<&[u8]>) {
        let before = (self.keys.len(), self.refused.len());
        let (mut secret, mut public) = (false, false);
        for packet in Packets::new(bytes) {
            if self.keys.len() + self.refused.len() >= MAX_KEYS {
                return;
            }
            let packet = match packet {
                Ok(packet) => packet,
                Err(_) => {
                    self.refused.push(KeyFileError::Damaged);
                    continue;
                }
            };
            match packet.tag {
                tag::SECRET_KEY | tag::SECRET_SUBKEY => {
                    secret = true;
                    match PgpKey::parse(packet.tag, &packet.body, password) {
                        Ok(Some(key)) => self.keys.push(key),
                        Ok(None) => {}
                        Err(error) => self.refused.push(KeyFileError::Unusable(error)),
                    }
                }
                tag::PUBLIC_KEY => public = true,
                _ => {}
            }
        }
        if (self.keys.len(), self.refused.len()) == before {
            self.refused.push(match (secret, public) {
                (true, _) => KeyFileError::NoneDecrypts,
                (false, true) => KeyFileError::PublicKey,
                (false, false) => KeyFileError::NoKey,
            });
        }
    }
}

/// Why a part of a file with OpenPGP keys is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The armor holds something else than keys.
    #[error("armored OpenPGP, but not a key")]
    Armored,
    /// The armor is damaged (RFC 9580, section 6).
    #[error("damaged OpenPGP armor")]
    Armor,
    /// A packet is damaged, or the file is cut off.
    #[error("OpenPGP keys that are damaged or cut off")]
    Damaged,
    /// A key that cannot be used.
    #[error("an OpenPGP key that cannot be used: {}", printable(&.0.to_string()))]
    Unusable(PgpError),
    /// All keys are for signatures.
    #[error("OpenPGP keys of which none can decrypt")]
    NoneDecrypts,
    /// A public key.
    #[error("an OpenPGP public key, not a secret one")]
    PublicKey,
    /// No key.
    #[error("OpenPGP without a key")]
    NoKey,
}

/// Whether the bytes begin with a key packet of an existing version. No other form of keys begins with
/// a byte above 0x7f.
fn is_binary(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first() else {
        return false;
    };
    let (tag, length) = match (header, rest.first()) {
        (0xc0.., Some(0..192)) => (header & 0x3f, 1),
        (0xc0.., Some(192..224)) => (header & 0x3f, 2),
        (0xc0.., Some(255)) => (header & 0x3f, 5),
        (0x80..0xc0, _) if header & 3 < 3 => (header >> 2 & 0xf, 1 << (header & 3)),
        _ => return false,
    };
    KINDS.contains(&tag) && rest.get(length).is_some_and(|version| (2..=6).contains(version))
}
