//! Writes a message in the form that Go writes: session keys of version 3, and encrypted data of
//! version 1 with AES-256 that contains an uncompressed literal.
//!
//! The newer version 2 is not written, because neither GnuPG 2.2 nor older Go ocicrypt, such as in
//! skopeo 1.9, can read it. Keys of version 6 require it, and are refused.

mod certificate;

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use aes::Aes256;
use aes::cipher::KeyIvInit;
use cfb_mode::BufEncryptor;
use rsa::rand_core::TryCryptoRng;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use self::certificate::Certificate;
use super::cipher::Cipher;
use super::packet::tag;
use super::public::{self, Curve, Kdf, PublicKey};
use super::reader::Reader;
use super::{PgpFingerprint, PgpKind, aead, armor, sum};
use crate::crypto::aes_kw::wrap_aes_key;
use crate::crypto::rng::{NoRandomness, random};
use crate::keys::public::{EcPublicKey, RsaPublicKey};
use crate::keys::{KeyKind, WrapError};

/// Why a key ring has no usable recipient. The text completes "it is …", or stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PgpRecipientError {
    /// The key ring, or the name of the recipient, is empty or has only white space.
    #[error("empty")]
    Empty,
    /// The key ring is damaged or truncated.
    #[error("a damaged key (OpenPGP)")]
    Malformed,
    /// No key of the ring belongs to the named recipient.
    #[error("not in the OpenPGP key ring")]
    NotInKeyRing,
    /// It is a ring of secret keys.
    #[error("an OpenPGP secret key, not a public one: `gpg --export` writes the public key of it")]
    SecretKey,
    /// It is a file of GnuPG's own format, such as `pubring.kbx`.
    #[error("a keybox, which only GnuPG reads: `gpg --export` writes the keys in it")]
    Keybox,
    /// A key was found, but cannot be used.
    #[error("the OpenPGP key {key}, which {reason}")]
    Unusable {
        /// The fingerprint of the primary key.
        key: PgpFingerprint,
        /// Why it cannot be used.
        reason: Unusable,
    },
}

/// The recipient that is searched in a key ring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PgpSelector {
    /// The fingerprint of a key or of one of its subkeys.
    Fingerprint(Vec<u8>),
    /// The key ID of a key or of one of its subkeys: the last eight bytes of its fingerprint.
    KeyId([u8; 8]),
    /// The name, the address, or both, of a user ID such as `Name (Comment) <address>`.
    Name(String),
}

/// Sixteen, 40 or 64 hexadecimal digits, with or without `0x`, are a key ID or a fingerprint;
/// everything else is a name or an address.
///
/// Go supports only names and addresses.
impl FromStr for PgpSelector {
    type Err = PgpRecipientError;

    /// # Errors
    /// [`PgpRecipientError::Empty`].
    fn from_str(text: &str) -> Result<Self, PgpRecipientError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(PgpRecipientError::Empty);
        }
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let digits: String = digits.chars().filter(|c| *c != ' ').collect();
        let bytes = digits.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        Ok(match bytes {
            Some(bytes) if [20, 32].contains(&bytes.len()) => Self::Fingerprint(bytes),
            Some(bytes) if bytes.len() == 8 => {
                Self::KeyId(bytes.try_into().expect("its length is eight"))
            }
            _ => Self::Name(text.to_owned()),
        })
    }
}

/// Why an OpenPGP key that was found cannot be used. The text continues "the OpenPGP key …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It has no subkey for encryption, or none that is supported.
    #[error("has no key for encryption that is supported")]
    NoEncryption,
    /// The key, or its subkey for encryption, was revoked.
    #[error("is revoked")]
    Revoked,
    /// The key, or its subkey for encryption, has expired.
    #[error("is expired")]
    Expired,
    /// The key, or its subkey for encryption, was made later than now.
    #[error("was made later than now: is the clock wrong?")]
    NotYet,
    /// It has no signature that proves that the names and subkeys are its own. SHA-1 does not count.
    #[error("has no valid signature of its own on its names and subkeys (SHA-1 does not count)")]
    NotSigned,
    /// Signatures with the algorithm of the primary key are not verified, or the key is too short.
    #[error("is of a kind or length whose own signatures are not verified")]
    Signer,
    /// Its version, which is included, is not 4.
    #[error("is of version {0}, and only version 4 is supported")]
    Version(u8),
    /// Its numbers do not make a key.
    #[error("is damaged, or not supported")]
    Damaged,
}

/// An OpenPGP key or subkey for encryption.
#[derive(Clone)]
pub(crate) struct PgpRecipient {
    fingerprint: PgpFingerprint,
    key: EncryptionKey,
}

#[derive(Clone)]
enum EncryptionKey {
    Rsa(RsaPublicKey),
    Ecdh(EcPublicKey, Kdf),
    Curve25519([u8; 32], Kdf),
    X25519([u8; 32]),
}

impl PgpRecipient {
    /// Finds all valid keys in a key ring, binary or armored, that `whom` selects.
    pub(crate) fn find(
        keyring: &[u8],
        whom: &PgpSelector,
        now: SystemTime,
    ) -> Result<Vec<Self>, PgpRecipientError> {
        let mut certificates = Vec::new();
        if keyring.trim_ascii().is_empty() {
            return Err(PgpRecipientError::Empty);
        } else if keyring.get(8..12) == Some(b"KBXf") {
            return Err(PgpRecipientError::Keybox);
        } else if armor::is_armored(keyring) {
            for block in armor::parse(keyring).blocks {
                let block = block.ok_or(PgpRecipientError::Malformed)?;
                certificates.extend(Certificate::read_all(&block)?);
            }
        } else {
            certificates = Certificate::read_all(keyring)?;
        }
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut found = Vec::new();
        let mut refusal = PgpRecipientError::NotInKeyRing;
        for certificate in &certificates {
            match certificate
                .is(whom)
                .and_then(|is| is.then(|| certificate.recipient(whom, now)).transpose())
            {
                Ok(recipient) => found.extend(recipient),
                Err(reason) => {
                    let key = certificate.fingerprint().clone();
                    refusal = PgpRecipientError::Unusable { key, reason };
                }
            }
        }
        if found.is_empty() { Err(refusal) } else { Ok(found) }
    }

    /// Reads the numbers of a key of `algorithm`.
    pub(super) fn new(
        fingerprint: PgpFingerprint,
        algorithm: u8,
        numbers: Reader<'_>,
    ) -> Result<Self, Unusable> {
        let kinds = PublicKey::parse(algorithm, &mut numbers.clone());
        let kinds = kinds.map_err(|_| Unusable::NoEncryption)?.ok_or(Unusable::NoEncryption)?;
        if matches!(kinds, PublicKey::ElGamal { .. }) {
            return Err(Unusable::NoEncryption);
        }
        let key = EncryptionKey::read(kinds, numbers).ok_or(Unusable::Damaged)?;
        Ok(Self { fingerprint, key })
    }

    pub(crate) fn fingerprint(&self) -> &PgpFingerprint {
        &self.fingerprint
    }

    pub(crate) fn kind(&self) -> PgpKind {
        match &self.key {
            EncryptionKey::Rsa(key) => PgpKind::Rsa { bits: key.bits() },
            EncryptionKey::Ecdh(EcPublicKey::P256(_), _) => PgpKind::of_curve(Curve::P256),
            EncryptionKey::Ecdh(EcPublicKey::P384(_), _) => PgpKind::of_curve(Curve::P384),
            EncryptionKey::Ecdh(EcPublicKey::P521(_), _) => PgpKind::of_curve(Curve::P521),
            EncryptionKey::Curve25519(..) => PgpKind::of_curve(Curve::Curve25519),
            EncryptionKey::X25519(_) => PgpKind::X25519,
        }
    }

    /// The body of a Public-Key Encrypted Session Key packet (section 5.1.1).
    fn wrap<R: TryCryptoRng + ?Sized>(
        &self,
        session_key: &[u8; 32],
        rng: &mut R,
    ) -> Result<Vec<u8>, WrapError> {
        let mut body = vec![3];
        body.extend_from_slice(&self.fingerprint.key_id());
        match &self.key {
            EncryptionKey::Rsa(key) => {
                body.push(public::RSA);
                let encrypted = key.encrypt_pkcs1v15(&with_cipher_and_sum(session_key), rng)?;
                body.extend(mpi(&encrypted));
            }
            EncryptionKey::Ecdh(key, kdf) => {
                let agreed = key.agree(rng)?;
                body.extend(self.wrap_ecdh(kdf, &agreed.point, &agreed.shared, session_key));
            }
            EncryptionKey::Curve25519(key, kdf) => {
                let (point, shared) = agree_25519(key, rng)?;
                let point = [&[0x40], &point[..]].concat();
                body.extend(self.wrap_ecdh(kdf, &point, &*shared, session_key));
            }
            EncryptionKey::X25519(key) => {
                let (point, shared) = agree_25519(key, rng)?;
                let secret = Zeroizing::new([&point[..], key, &*shared].concat());
                let wrapping = aead::hkdf(&secret, &[], b"OpenPGP X25519", 16);
                let wrapped = wrapped(&wrapping, session_key);
                body.push(public::X25519);
                body.extend_from_slice(&point);
                body.extend_from_slice(&[wrapped.len() as u8 + 1, Cipher::Aes256.id()]);
                body.extend(wrapped);
            }
        }
        Ok(body)
    }

    /// Section 11.5.
    fn wrap_ecdh(&self, kdf: &Kdf, point: &[u8], shared: &[u8], session_key: &[u8; 32]) -> Vec<u8> {
        let wrapping = kdf.derive(shared, self.fingerprint.as_bytes());
        let mut padded = with_cipher_and_sum(session_key);
        let (length, padding) = (padded.len(), 8 - padded.len() % 8);
        padded.resize(length + padding, padding as u8);
        let wrapped = wrapped(&wrapping, &padded);
        [&[public::ECDH][..], &mpi(point), &[wrapped.len() as u8], &wrapped].concat()
    }
}

impl EncryptionKey {
    fn read(key: PublicKey, mut numbers: Reader<'_>) -> Option<Self> {
        Some(match key {
            PublicKey::Rsa { n, e } => Self::Rsa(RsaPublicKey::new(&n, &e).ok()?),
            PublicKey::Ecdh { curve, kdf } => {
                let _oid = numbers.prefixed()?;
                let point = numbers.mpi()?;
                let kind = match curve {
                    Curve::P256 => KeyKind::P256,
                    Curve::P384 => KeyKind::P384,
                    Curve::P521 => KeyKind::P521,
                    Curve::Curve25519 => {
                        let point = point.strip_prefix(&[0x40])?.try_into().ok()?;
                        return Some(Self::Curve25519(of_high_order(point)?, kdf));
                    }
                };
                Self::Ecdh(EcPublicKey::new(kind, point).ok()?, kdf)
            }
            PublicKey::ElGamal { .. } => return None,
            PublicKey::X25519 => Self::X25519(of_high_order(numbers.array()?)?),
        })
    }
}

/// Encrypts `plain` for all recipients: a message in binary form (section 10.3).
pub(crate) fn encrypt<R: TryCryptoRng + ?Sized>(
    recipients: &[&PgpRecipient],
    plain: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, WrapError> {
    let session_key = random::<32, R>(rng)?;
    let mut message = Vec::new();
    for recipient in recipients {
        let body = recipient.wrap(&session_key, rng)?;
        push_packet(&mut message, tag::PUBLIC_KEY_SESSION_KEY, &[&body]);
    }
    // Binary data without a name and a date (section 5.9).
    const LITERAL_HEADER: [u8; 6] = [b'b', 0, 0, 0, 0, 0];
    const MDC_HEADER: [u8; 2] = [0xd3, 20];
    let prefix = random::<16, R>(rng)?;
    // The capacity is large enough for everything, because a growing vector leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + 64));
    text.extend_from_slice(&*prefix);
    text.extend_from_slice(&prefix[14..]);
    push_packet(&mut text, tag::LITERAL, &[&LITERAL_HEADER, plain]);
    text.extend_from_slice(&MDC_HEADER);
    let digest = Sha1::digest(&text[..]);
    text.extend_from_slice(&digest);
    BufEncryptor::<Aes256>::new((&*session_key).into(), &[0; 16].into()).encrypt(&mut text);
    push_packet(&mut message, tag::PROTECTED, &[&[1], &text]);
    Ok(message)
}

/// A session key in the form in which RSA and ECDH wrap it (section 5.1.3).
fn with_cipher_and_sum(session_key: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(48));
    bytes.push(Cipher::Aes256.id());
    bytes.extend_from_slice(session_key);
    bytes.extend_from_slice(&sum(session_key));
    bytes
}

fn wrapped(wrapping: &[u8], plain: &[u8]) -> Vec<u8> {
    wrap_aes_key(wrapping, plain).expect("derived keys have a length of AES")
}

/// The point, unless it has a low order: everyone has the same shared secret with such a key.
fn of_high_order(point: [u8; 32]) -> Option<[u8; 32]> {
    // Every secret number is a multiple of eight, and so of every low order.
    let any = x25519_dalek::StaticSecret::from([0; 32]);
    any.diffie_hellman(&point.into()).was_contributory().then_some(point)
}

/// X25519 (RFC 7748, section 5) with a new key. Returns its public key and the shared secret.
fn agree_25519<R: TryCryptoRng + ?Sized>(
    key: &[u8; 32],
    rng: &mut R,
) -> Result<([u8; 32], Zeroizing<[u8; 32]>), NoRandomness> {
    let secret = x25519_dalek::StaticSecret::from(*random::<32, R>(rng)?);
    let point = x25519_dalek::PublicKey::from(&secret).to_bytes();
    let shared = secret.diffie_hellman(&(*key).into());
    Ok((point, Zeroizing::new(shared.to_bytes())))
}

/// A multiprecision integer (section 3.2).
fn mpi(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    let unused = number.first().map_or(0, |first| first.leading_zeros() as usize);
    // The longest number is that of RSA with 16384 bits.
    let bits = (number.len() * 8 - unused) as u16;
    [&bits.to_be_bytes(), number].concat()
}

/// A packet with a length of five bytes (section 4.2.1).
fn push_packet(output: &mut Vec<u8>, tag: u8, body: &[&[u8]]) {
    let length: usize = body.iter().map(|part| part.len()).sum();
    output.extend_from_slice(&[0xc0 | tag, 0xff]);
    output.extend_from_slice(&(length as u32).to_be_bytes());
    body.iter().for_each(|part| output.extend_from_slice(part));
}
