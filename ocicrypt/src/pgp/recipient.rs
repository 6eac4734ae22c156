//! Public-Key Encrypted Session Keys (RFC 9580, section 5.1), one for each recipient.

use std::fmt;

use rsa::rand_core::TryCryptoRng;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::PgpError;
use super::aead;
use super::cipher::Cipher;
use super::public::{self, Kdf, PgpKind, PublicKey, Unlocked};
use super::reader::Reader;
use super::s2k::Hash;
use super::secret_key::PgpKey;
use crate::algorithms::Algorithm;
use crate::crypto::aes_kw::unwrap_aes_key;
use crate::keys::{OaepRefusal, RsaKey};

/// A session key and, if it includes one, its cipher.
pub(super) struct SessionKey {
    pub(super) cipher: Option<Cipher>,
    pub(super) key: Zeroizing<Vec<u8>>,
    /// Whether it was wrapped correctly. With RSA and ElGamal, this must not be visible before the data has been
    /// decrypted and verified.
    pub(super) is_sound: Choice,
}

/// One recipient, checked as far as possible without a key.
pub(super) struct Recipient {
    pub(super) version: Version,
    pub(super) whom: Whom,
    wrapped: Wrapped,
    /// The SHA-256 of the packet, to recognise it.
    pub(super) digest: [u8; 32],
}

/// Versions of the packet. Each requires its own version of encrypted data (section 10.3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V6,
}

/// The identity of the recipient.
pub(super) enum Whom {
    /// Any key: the sender does not state it.
    Hidden,
    KeyId([u8; 8]),
    Fingerprint(Vec<u8>),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self {
            Self::Hidden => return f.write_str("hidden"),
            Self::KeyId(id) => ("key", id.as_slice()),
            Self::Fingerprint(fingerprint) => ("key", fingerprint.as_slice()),
        };
        write!(f, "{what} ")?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

enum Wrapped {
    Rsa { number: Vec<u8> },
    ElGamal { ephemeral: Vec<u8>, masked: Vec<u8> },
    Ecdh { point: Vec<u8>, wrapped: Vec<u8> },
    X25519 { point: [u8; 32], cipher: Option<Cipher>, wrapped: Vec<u8> },
}

impl Recipient {
    pub(super) fn parse(body: &[u8]) -> Result<Self, PgpError> {
        let damaged = PgpError::Malformed("a wrapped session key is damaged or cut off");
        let mut reader = Reader::new(body);
        let (version, whom) = match reader.u8() {
            Some(3) => {
                let id = reader.array().ok_or(damaged.clone())?;
                let whom = if id == [0; 8] { Whom::Hidden } else { Whom::KeyId(id) };
                (Version::V3, whom)
            }
            Some(6) => (
                Version::V6,
                match reader.prefixed().ok_or(damaged.clone())? {
                    [] => Whom::Hidden,
                    [4 | 6, fingerprint @ ..] => Whom::Fingerprint(fingerprint.to_vec()),
                    _ => return Err(damaged),
                },
            ),
            Some(other) => {
                return Err(PgpError::unsupported_number("session key version", other));
            }
            None => return Err(damaged),
        };
        let algorithm = reader.u8().ok_or(damaged.clone())?;
        let wrapped = Wrapped::parse(version, algorithm, &mut reader)?;
        let wrapped = wrapped.filter(|_| reader.is_empty()).ok_or(damaged)?;
        Ok(Self { version, whom, wrapped, digest: Sha256::digest(body).into() })
    }

    /// Whether the packet may be meant for `key`, by everything that it states.
    pub(super) fn fits(&self, key: &PgpKey) -> bool {
        let fingerprint = key.fingerprint();
        let named = match &self.whom {
            Whom::Hidden => true,
            Whom::KeyId(id) => fingerprint.key_id() == *id,
            Whom::Fingerprint(known) => fingerprint.as_bytes() == known,
        };
        named
            && match (&self.wrapped, &key.public) {
                (Wrapped::Rsa { number }, PublicKey::Rsa { n, .. }) => number.len() <= n.len(),
                (Wrapped::ElGamal { ephemeral, masked }, PublicKey::ElGamal { prime }) => {
                    ephemeral.len().max(masked.len()) <= prime.len()
                }
                (Wrapped::Ecdh { point, .. }, PublicKey::Ecdh { curve, .. }) => {
                    point.len() == curve.point_length()
                }
                (Wrapped::X25519 { .. }, PublicKey::X25519) => true,
                _ => false,
            }
    }

    /// How the session key is wrapped for `key`, as far as the message and the key state it.
    pub(super) fn algorithms(&self, key: &PgpKey) -> Vec<Algorithm> {
        match (&key.public, key.kind()) {
            (PublicKey::Rsa { .. }, PgpKind::Rsa { bits }) => {
                vec![Algorithm::rsa(bits), Algorithm::PKCS1_V1_5]
            }
            (PublicKey::ElGamal { .. }, _) => vec![Algorithm::legacy("ElGamal")],
            (PublicKey::Ecdh { kdf, .. }, _) if matches!(kdf.hash, Hash::Sha1) => {
                vec![Algorithm::legacy("ECDH with SHA-1")]
            }
            (PublicKey::Ecdh { .. }, _) => vec![Algorithm::modern("ECDH")],
            _ => vec![Algorithm::modern("X25519")],
        }
    }

    /// Unwraps the session key. There is one or, with RSA and ElGamal, one for each of the ciphers that the data
    /// may be encrypted with.
    ///
    /// With these two, the result does not show whether the message was for this key: a wrong key yields
    /// made-up session keys, each with the length of its cipher, so that only the authentication of the
    /// data can fail. For the same reason, an unsupported cipher is not named in that case.
    ///
    /// # Errors
    /// [`PgpError::NotOpened`] if the failure is known here, and the errors for what the format does
    /// not have.
    pub(super) fn unwrap<R: TryCryptoRng + ?Sized>(
        &self,
        key: &PgpKey,
        unlocked: &Unlocked,
        ciphers: &[Cipher],
        rng: &mut R,
    ) -> Result<Vec<SessionKey>, PgpError> {
        match (&self.wrapped, unlocked, &key.public) {
            (Wrapped::Rsa { number }, Unlocked::Rsa(rsa), _) => {
                self.unwrap_rsa(rsa, number, ciphers, rng)
            }
            (Wrapped::ElGamal { ephemeral, masked }, Unlocked::ElGamal(key), _) => {
                let lengths = self.lengths(ciphers);
                let messages = key.decrypt_pkcs1v15_of_lengths(&lengths, [ephemeral, masked]);
                Ok(self.sessions(messages.ok_or(PgpError::NotOpened)?, ciphers))
            }
            (Wrapped::Ecdh { point, wrapped }, unlocked, PublicKey::Ecdh { kdf, .. }) => {
                let shared = agree(unlocked, point)?;
                let wrapping = kdf.derive(&shared, key.fingerprint().as_bytes());
                let padded = unwrap_aes_key(&wrapping, wrapped).ok_or(PgpError::NotOpened)?;
                let message = unpad(&padded).ok_or(PgpError::NotOpened)?;
                Ok(vec![self.session_key(message)?])
            }
            (Wrapped::X25519 { point, cipher, wrapped }, Unlocked::X25519(secret), _) => {
                let shared = agree_25519(secret, *point).ok_or(NOT_A_POINT)?;
                let own = x25519_dalek::PublicKey::from(secret);
                let secret = Zeroizing::new([&point[..], own.as_bytes(), &shared].concat());
                let wrapping = aead::hkdf(&secret, &[], b"OpenPGP X25519", 16);
                let key = unwrap_aes_key(&wrapping, wrapped).ok_or(PgpError::NotOpened)?;
                Ok(vec![SessionKey { cipher: *cipher, key, is_sound: Choice::from(1) }])
            }
            _ => Err(PgpError::NotOpened),
        }
    }

    fn unwrap_rsa<R: TryCryptoRng + ?Sized>(
        &self,
        key: &RsaKey,
        number: &[u8],
        ciphers: &[Cipher],
        rng: &mut R,
    ) -> Result<Vec<SessionKey>, PgpError> {
        // In the integer format, leading zeros are missing.
        let mut ciphertext = vec![0; key.size().saturating_sub(number.len())];
        ciphertext.extend_from_slice(number);
        let messages = key.decrypt_pkcs1v15_of_lengths(&self.lengths(ciphers), &ciphertext, rng);
        let messages = messages.map_err(|refusal| match refusal {
            OaepRefusal::NoRandomness => PgpError::NoRandomness,
            OaepRefusal::WrongKey => PgpError::NotOpened,
        })?;
        Ok(self.sessions(messages, ciphers))
    }

    /// Only in version 3, the cipher's number precedes the key.
    fn length_before_key(&self) -> usize {
        usize::from(self.version == Version::V3)
    }

    /// The length that a message has for each cipher.
    fn lengths(&self, ciphers: &[Cipher]) -> Vec<usize> {
        const SUM: usize = 2;
        let before = self.length_before_key();
        ciphers.iter().map(|cipher| before + cipher.key_length() + SUM).collect()
    }

    /// The session keys of messages that have the right length for each cipher, whatever the padding
    /// was. The content is examined only for [`SessionKey::is_sound`].
    fn sessions(&self, messages: Vec<Zeroizing<Vec<u8>>>, ciphers: &[Cipher]) -> Vec<SessionKey> {
        let before = self.length_before_key();
        let session = |(message, cipher): (Zeroizing<Vec<u8>>, &Cipher)| {
            let (id, rest) = message.split_at(before);
            let (key, sum) = rest.split_at(cipher.key_length());
            let is_named = id.ct_eq(&[cipher.id()][..before]);
            SessionKey {
                cipher: Some(*cipher).filter(|_| self.version == Version::V3),
                key: Zeroizing::new(key.to_vec()),
                is_sound: is_named & sum.ct_eq(&super::sum(key)),
            }
        };
        messages.into_iter().zip(ciphers).map(session).collect()
    }

    /// Splits a session key that was authenticated separately (section 5.1.3): its cipher in version 3,
    /// the key, and its sum.
    fn session_key(&self, message: &[u8]) -> Result<SessionKey, PgpError> {
        let (cipher, key) = match self.version {
            Version::V3 => {
                let (cipher, rest) = message.split_first().ok_or(PgpError::NotOpened)?;
                (Some(*cipher), rest)
            }
            Version::V6 => (None, message),
        };
        let key = super::secret_key::split_sum(key).ok_or(PgpError::NotOpened)?;
        let cipher = cipher.map(Cipher::of_id).transpose()?;
        if cipher.is_some_and(|cipher| cipher.key_length() != key.len()) {
            return Err(PgpError::NotOpened);
        }
        let key = Zeroizing::new(key.to_vec());
        Ok(SessionKey { cipher, key, is_sound: Choice::from(1) })
    }
}

impl Wrapped {
    /// Parses the fields of an algorithm. None if they are damaged.
    fn parse(
        version: Version,
        algorithm: u8,
        reader: &mut Reader<'_>,
    ) -> Result<Option<Self>, PgpError> {
        Ok(match algorithm {
            public::RSA | public::RSA_ENCRYPT_ONLY => {
                reader.mpi().map(|number| Self::Rsa { number: number.to_vec() })
            }
            public::ELGAMAL => reader.mpi().zip(reader.mpi()).map(|(ephemeral, masked)| {
                Self::ElGamal { ephemeral: ephemeral.to_vec(), masked: masked.to_vec() }
            }),
            public::ECDH => reader.mpi().zip(reader.prefixed()).map(|(point, wrapped)| {
                Self::Ecdh { point: point.to_vec(), wrapped: wrapped.to_vec() }
            }),
            public::X25519 => {
                let Some((point, wrapped)) = reader.array().zip(reader.prefixed()) else {
                    return Ok(None);
                };
                let (cipher, wrapped) = match (version, wrapped) {
                    (Version::V3, [cipher, wrapped @ ..]) => {
                        (Some(Cipher::aes_of_id(*cipher)?), wrapped)
                    }
                    (Version::V3, []) => return Ok(None),
                    (Version::V6, wrapped) => (None, wrapped),
                };
                Some(Self::X25519 { point, cipher, wrapped: wrapped.to_vec() })
            }
            other => return Err(public::unsupported(other)),
        })
    }
}

const NOT_A_POINT: PgpError = PgpError::Malformed("an ephemeral key is not a point of its curve");

/// The shared secret of ECDH (section 11.4): the x coordinate of the shared point.
fn agree(unlocked: &Unlocked, point: &[u8]) -> Result<Zeroizing<Vec<u8>>, PgpError> {
    let (form, coordinates) = point.split_first().ok_or(NOT_A_POINT)?;
    let shared = match (unlocked, form) {
        (Unlocked::X25519(secret), 0x40) => {
            let point = coordinates.try_into().map_err(|_| NOT_A_POINT)?;
            agree_25519(secret, point)
        }
        (unlocked, 4) => {
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            match unlocked {
                Unlocked::P256(key) => key.agree(x, y),
                Unlocked::P384(key) => key.agree(x, y),
                Unlocked::P521(key) => key.agree(x, y),
                Unlocked::Rsa(_) | Unlocked::ElGamal(_) | Unlocked::X25519(_) => None,
            }
        }
        _ => None,
    };
    shared.ok_or(NOT_A_POINT)
}

/// The shared secret of X25519 (RFC 7748, section 6.1). None for a point of low order, with which
/// everyone has the same shared secret.
fn agree_25519(secret: &x25519_dalek::StaticSecret, point: [u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
    let shared = secret.diffie_hellman(&point.into());
    shared.was_contributory().then(|| Zeroizing::new(shared.as_bytes().to_vec()))
}

impl Kdf {
    /// The key for unwrapping (section 11.5). For the accepted combinations of hash and cipher, one
    /// hash is at least as long as the key; otherwise the key does not unwrap.
    pub(super) fn derive(&self, shared: &[u8], fingerprint: &[u8]) -> Zeroizing<Vec<u8>> {
        let parts = [
            &1u32.to_be_bytes()[..],
            shared,
            &self.parameters,
            b"Anonymous Sender    ",
            fingerprint,
        ];
        let mut key = match self.hash {
            Hash::Sha1 => hash::<sha1::Sha1>(&parts),
            Hash::Sha224 => hash::<sha2::Sha224>(&parts),
            Hash::Sha256 => hash::<Sha256>(&parts),
            Hash::Sha384 => hash::<sha2::Sha384>(&parts),
            Hash::Sha512 => hash::<sha2::Sha512>(&parts),
        };
        key.truncate(self.cipher.key_length());
        key
    }
}

fn hash<D: Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part));
    Zeroizing::new(hash.finalize().to_vec())
}

/// Removes PKCS #5 padding (section 11.5). The padded message was authenticated, so there is nothing to
/// hide. Some writers pad to more than a block, to hide the length.
fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*padded.last()?);
    let (message, padding) = padded.split_at_checked(padded.len().checked_sub(length)?)?;
    let sound = length > 0 && padding.iter().all(|byte| usize::from(*byte) == length);
    sound.then_some(message)
}
