//! Encrypted data (RFC 9580, section 5.13), always with integrity protection.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::PgpError;
use super::aead::{self, Chunked, MAX_CHUNK, Mode, Nonce};
use super::cipher::Cipher;
use super::packet::{Packet, tag};
use super::reader::Reader;
use super::recipient::{SessionKey, Version};
use crate::algorithms::Algorithm;
use crate::budget::{Budget, Exhausted, cost};

/// An encrypted packet whose form is known.
pub(super) struct Sealed {
    form: Form,
    data: Vec<u8>,
}

enum Form {
    /// SEIPD version 1: CFB, and SHA-1 over the plaintext (section 5.13.1).
    Mdc,
    /// SEIPD version 2 (section 5.13.2).
    Aead { cipher: Cipher, mode: Mode, chunk: u8, salt: [u8; 32] },
    /// GnuPG's own packet, from an older draft.
    GnuPg { cipher: Cipher, mode: Mode, chunk: u8, nonce: Vec<u8> },
}

impl Sealed {
    /// Reads a packet of one of the types for encrypted data.
    pub(super) fn parse(packet: &Packet<'_>) -> Result<Self, PgpError> {
        let cut = PgpError::Malformed("the encrypted data is damaged or cut off");
        let mut reader = Reader::new(&packet.body);
        let version = match packet.tag {
            // An alteration could not be detected. Go refuses it too.
            tag::ENCRYPTED => return Err(PgpError::NotProtected),
            _ => reader.u8().ok_or(cut.clone())?,
        };
        let form = match (packet.tag, version) {
            (tag::PROTECTED, 1) => Form::Mdc,
            (tag::PROTECTED, 2) => {
                let (cipher, mode, chunk) = Self::parse_mode(&mut reader)?;
                let salt = reader.array().ok_or(cut)?;
                Form::Aead { cipher, mode, chunk, salt }
            }
            (tag::GNUPG_AEAD, 1) => {
                let (cipher, mode, chunk) = Self::parse_mode(&mut reader)?;
                let nonce = reader.take(mode.nonce_length()).ok_or(cut)?.to_vec();
                Form::GnuPg { cipher, mode, chunk, nonce }
            }
            _ => return Err(PgpError::unsupported_number("encrypted data version", version)),
        };
        Ok(Self { form, data: reader.rest().to_vec() })
    }

    fn parse_mode(reader: &mut Reader<'_>) -> Result<(Cipher, Mode, u8), PgpError> {
        let [cipher, mode, chunk] =
            reader.array().ok_or(PgpError::Malformed("the encrypted data is cut off"))?;
        if chunk > MAX_CHUNK {
            return Err(PgpError::Malformed("the chunks of the encrypted data are too large"));
        }
        Ok((Cipher::aes_of_id(cipher)?, Mode::of_id(mode)?, chunk))
    }

    /// The version of the session keys that this requires (section 10.3.2.1).
    pub(super) fn version(&self) -> Version {
        match self.form {
            Form::Mdc | Form::GnuPg { .. } => Version::V3,
            Form::Aead { .. } => Version::V6,
        }
    }

    /// Pays for decrypting with a session key for `cipher`, and for reading the result.
    pub(super) fn pay(&self, cipher: Option<Cipher>, budget: &mut Budget) -> Result<(), Exhausted> {
        let each = match (&self.form, cipher) {
            (Form::Mdc, Some(Cipher::TripleDes)) => cost::TRIPLE_DES + cost::HASHED,
            (Form::Mdc, Some(Cipher::Cast5)) => cost::CAST5 + cost::HASHED,
            (Form::Mdc, _) => cost::AES_CFB + cost::HASHED,
            // The cipher is set up again for each chunk.
            (Form::Aead { chunk, .. } | Form::GnuPg { chunk, .. }, _) => {
                cost::AES_GCM + (cost::CHUNK >> chunk.saturating_add(6).min(63))
            }
        };
        budget.spend_on_bytes(self.data.len(), each + cost::READ)
    }

    /// The ciphers that this may be encrypted with: all of them, if only the session key states the
    /// cipher.
    pub(super) fn ciphers(&self) -> &[Cipher] {
        match &self.form {
            Form::Mdc => &Cipher::ALL,
            Form::Aead { cipher, .. } | Form::GnuPg { cipher, .. } => std::slice::from_ref(cipher),
        }
    }

    /// The cipher and its mode. In version 1, the cipher is that of the session key.
    pub(super) fn algorithms(&self, of_session: Option<Cipher>) -> [Algorithm; 2] {
        match &self.form {
            Form::Mdc => {
                let cipher = of_session.map_or(Algorithm::modern("AES"), Cipher::algorithm);
                [cipher, Algorithm::modern("SEIPDv1")]
            }
            Form::Aead { cipher, mode, .. } | Form::GnuPg { cipher, mode, .. } => {
                [cipher.algorithm(), Algorithm::modern(mode.name())]
            }
        }
    }

    /// Decrypts with each of `sessions` and verifies. Every failure has the same error,
    /// [`PgpError::NotOpened`]. All sessions are tried, even after one that succeeds; its cipher is
    /// returned with the text.
    pub(super) fn open(
        &self,
        sessions: &[SessionKey],
    ) -> Result<(Zeroizing<Vec<u8>>, Option<Cipher>), PgpError> {
        let opened = sessions.iter().fold(None, |found: Option<_>, session| {
            let opened = self.try_open(session).filter(|_| session.is_sound.into());
            found.or(opened.map(|text| (text, session.cipher)))
        });
        opened.ok_or(PgpError::NotOpened)
    }

    fn try_open(&self, session: &SessionKey) -> Option<Zeroizing<Vec<u8>>> {
        match &self.form {
            Form::Mdc => self.open_mdc(session),
            Form::Aead { cipher, mode, chunk, salt } => {
                let key_length = cipher.key_length();
                if session.key.len() != key_length {
                    return None;
                }
                let header = [0xc0 | tag::PROTECTED, 2, cipher.id(), mode.id(), *chunk];
                // The number of the chunk fills the last eight bytes of the nonce.
                let length = key_length + mode.nonce_length() - 8;
                let derived = aead::hkdf(&session.key, salt, &header, length);
                let (key, prefix) = derived.split_at_checked(key_length)?;
                let chunked = Chunked {
                    cipher: *cipher,
                    mode: *mode,
                    key,
                    header: &header,
                    numbered: false,
                    nonce: Nonce::Prefix(prefix),
                    chunk: *chunk,
                };
                chunked.open(&self.data)
            }
            Form::GnuPg { cipher, mode, chunk, nonce } => {
                if session.cipher != Some(*cipher) {
                    return None;
                }
                let chunked = Chunked {
                    cipher: *cipher,
                    mode: *mode,
                    key: &session.key,
                    header: &[0xc0 | tag::GNUPG_AEAD, 1, cipher.id(), mode.id(), *chunk],
                    numbered: true,
                    nonce: Nonce::Mixed(nonce),
                    chunk: *chunk,
                };
                chunked.open(&self.data)
            }
        }
    }

    /// Decrypts a block of random bytes and a repetition of its last two, the packets, and a packet
    /// with the SHA-1 of all that. The repetition is not checked: that would reveal something about the
    /// plaintext to an attacker who alters it (section 13.4).
    fn open_mdc(&self, session: &SessionKey) -> Option<Zeroizing<Vec<u8>>> {
        const MDC_HEADER: [u8; 2] = [0xd3, 20];
        let cipher = session.cipher?;
        let block = cipher.block_length();
        let mut text = Zeroizing::new(self.data.clone());
        cipher.decrypt_cfb(&session.key, &[0; 16][..block], &mut text)?;
        let (hashed, mdc) = text.split_at_checked(text.len().checked_sub(20)?)?;
        let (plain, header) = hashed.split_at_checked(hashed.len().checked_sub(2)?)?;
        let valid = Sha1::digest(hashed)[..].ct_eq(mdc) & header.ct_eq(&MDC_HEADER);
        let plain = plain.get(block + 2..)?;
        bool::from(valid).then(|| Zeroizing::new(plain.to_vec()))
    }
}
