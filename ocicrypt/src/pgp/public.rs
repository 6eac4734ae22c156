//! Public keys (RFC 9580, section 5.5.5) of the kinds that can decrypt, and their secret numbers.

use std::fmt;

use zeroize::Zeroizing;

use super::PgpError;
use super::cipher::Cipher;
use super::elgamal::{self, ElGamalKey};
use super::reader::Reader;
use super::s2k::Hash;
use crate::budget::{Budget, cost};
use crate::keys::{EcKey, MAX_BITS, MIN_BITS, RsaKey};

/// A public key.
pub(super) enum PublicKey {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    ElGamal { prime: Vec<u8> },
    Ecdh { curve: Curve, kdf: Kdf },
    X25519,
}

/// A curve of ECDH keys (section 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    Curve25519,
}

/// How the key for wrapping is derived from the shared point of ECDH (section 11.5).
#[derive(Clone)]
pub(super) struct Kdf {
    pub(super) hash: Hash,
    pub(super) cipher: Cipher,
    /// Curve, algorithm and parameters in the form that is the input of the derivation.
    pub(super) parameters: Vec<u8>,
}

impl Curve {
    /// The length of a point in the form of the format.
    pub(super) fn point_length(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::P384 => 97,
            Self::P521 => 133,
            Self::Curve25519 => 33,
        }
    }

    pub(super) fn of_oid(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Self::P256,
            [0x2b, 0x81, 0x04, 0x00, 0x22] => Self::P384,
            [0x2b, 0x81, 0x04, 0x00, 0x23] => Self::P521,
            [0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01] => Self::Curve25519,
            _ => return None,
        })
    }
}

/// Public-key algorithms (section 9.1).
pub(super) const RSA: u8 = 1;
pub(super) const RSA_ENCRYPT_ONLY: u8 = 2;
pub(super) const ELGAMAL: u8 = 16;
pub(super) const ECDH: u8 = 18;
pub(super) const X25519: u8 = 25;

/// The error for an algorithm that can decrypt, but is not supported.
pub(super) fn unsupported(algorithm: u8) -> PgpError {
    match algorithm {
        20 => PgpError::unsupported("algorithm", "ElGamal for signatures"),
        26 => PgpError::unsupported("algorithm", "X448"),
        35 => PgpError::unsupported("algorithm", "ML-KEM-768+X25519"),
        36 => PgpError::unsupported("algorithm", "ML-KEM-1024+X448"),
        _ => PgpError::unsupported_number("algorithm", algorithm),
    }
}

impl PublicKey {
    /// Reads the numbers of a key of `algorithm`; none if it is only for signatures.
    pub(super) fn parse(algorithm: u8, reader: &mut Reader<'_>) -> Result<Option<Self>, PgpError> {
        let damaged = PgpError::Malformed("a public key is damaged or cut off");
        Ok(Some(match algorithm {
            RSA | RSA_ENCRYPT_ONLY => {
                let (n, e) = (reader.mpi(), reader.mpi());
                let (n, e) = n.zip(e).ok_or(damaged)?;
                Self::Rsa { n: n.to_vec(), e: e.to_vec() }
            }
            ELGAMAL => {
                let (prime, generator) = (reader.mpi(), reader.mpi());
                let ((prime, _), _public) =
                    prime.zip(generator).zip(reader.mpi()).ok_or(damaged)?;
                Self::ElGamal { prime: prime.to_vec() }
            }
            ECDH => {
                let start = *reader;
                let oid = reader.prefixed().ok_or(damaged.clone())?;
                let curve = Curve::of_oid(oid);
                let curve = curve.ok_or(PgpError::unsupported("curve", &hex(oid)))?;
                let oid = &start.rest()[..1 + oid.len()];
                let _point = reader.mpi().ok_or(damaged.clone())?;
                let [_reserved, hash, cipher] = match reader.prefixed() {
                    Some(&[reserved, hash, cipher]) => [reserved, hash, cipher],
                    _ => return Err(damaged),
                };
                let parameters = [oid, &[ECDH, 3, 1, hash, cipher]].concat();
                let (hash, cipher) = (Hash::of_id(hash)?, Cipher::aes_of_id(cipher)?);
                Self::Ecdh { curve, kdf: Kdf { hash, cipher, parameters } }
            }
            X25519 => {
                reader.take(32).ok_or(damaged)?;
                Self::X25519
            }
            // RSA for signatures, DSA, ECDSA, EdDSA, Ed25519, Ed448.
            3 | 17 | 19 | 22 | 27 | 28 => return Ok(None),
            other => return Err(unsupported(other)),
        }))
    }

    pub(super) fn kind(&self) -> PgpKind {
        match self {
            Self::Rsa { n, .. } => PgpKind::Rsa { bits: bit_length(n) },
            Self::ElGamal { prime } => PgpKind::ElGamal { bits: bit_length(prime) },
            Self::Ecdh { curve, .. } => PgpKind::of_curve(*curve),
            Self::X25519 => PgpKind::X25519,
        }
    }

    /// Checks that the numbers are of a length that is computed with.
    ///
    /// # Errors
    /// [`PgpError::Unsupported`] with the length.
    pub(super) fn check_size(&self) -> Result<(), PgpError> {
        let (what, bits, accepted) = match self.kind() {
            PgpKind::Rsa { bits } => ("RSA key", bits, MIN_BITS..=MAX_BITS),
            PgpKind::ElGamal { bits } => {
                ("ElGamal key", bits, elgamal::MIN_BITS..=elgamal::MAX_BITS)
            }
            _ => return Ok(()),
        };
        let refusal = || PgpError::unsupported(what, &format!("of {bits} bits"));
        accepted.contains(&bits).then_some(()).ok_or_else(refusal)
    }

    /// The most that checking the secret numbers can cost.
    pub(super) fn cost_of_checking(&self) -> u64 {
        match self.kind() {
            PgpKind::Rsa { bits } => cost::rsa_check(bits) + cost::rsa_inverse(bits),
            _ => 0,
        }
    }

    /// The cost of an operation with an ElGamal key.
    pub(super) fn cost_of_power(&self) -> u64 {
        match self.kind() {
            PgpKind::ElGamal { bits } => cost::power_in_library(bits),
            _ => 0,
        }
    }

    /// Reads the secret numbers (section 5.5.5) and builds the key; none if they are damaged, do not
    /// match, or are followed by more bytes. The caller has paid [`PublicKey::cost_of_checking`].
    pub(super) fn with_secret(&self, reader: &mut Reader<'_>) -> Option<Unlocked> {
        let unlocked = match self {
            Self::Rsa { n, e } => {
                let (d, p, q) = (reader.mpi()?, reader.mpi()?, reader.mpi()?);
                // This is the inverse of p modulo q; other formats have that of q modulo p.
                let inverse = reader.mpi()?;
                let budget = &mut Budget::new(u64::MAX);
                Unlocked::Rsa(RsaKey::new(n, e, d, &[q, p], Some(inverse), budget).ok()?)
            }
            Self::ElGamal { prime } => {
                Unlocked::ElGamal(ElGamalKey::new(trim(prime), trim(reader.mpi()?))?)
            }
            Self::Ecdh { curve, .. } => {
                let scalar = reader.mpi()?;
                match curve {
                    Curve::P256 => Unlocked::P256(EcKey::new(scalar, None).ok()?),
                    Curve::P384 => Unlocked::P384(EcKey::new(scalar, None).ok()?),
                    Curve::P521 => Unlocked::P521(EcKey::new(scalar, None).ok()?),
                    Curve::Curve25519 => Unlocked::X25519((*little_endian(scalar)?).into()),
                }
            }
            Self::X25519 => {
                let scalar = Zeroizing::new(reader.array::<32>()?);
                Unlocked::X25519((*scalar).into())
            }
        };
        reader.is_empty().then_some(unlocked)
    }
}

/// A number without its leading zeros.
fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn bit_length(number: &[u8]) -> u32 {
    let number = trim(number);
    let top = number.first().map_or(0, |byte| byte.leading_zeros());
    number.len() as u32 * 8 - top
}

/// An object identifier in hexadecimal digits, truncated for messages.
fn hex(oid: &[u8]) -> String {
    oid.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The scalar of an ECDH key on Curve25519. It is a big-endian number like any other, but the curve's
/// own form is little-endian (section 5.5.5.6.1.1).
fn little_endian(number: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut scalar = Zeroizing::new([0; 32]);
    let start = scalar.len().checked_sub(number.len())?;
    scalar[start..].copy_from_slice(number);
    scalar.reverse();
    Some(scalar)
}

/// The kind of an OpenPGP key that can decrypt; its text is, for example, `RSA-3072`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PgpKind {
    /// RSA.
    Rsa {
        /// The length of the modulus in bits.
        bits: u32,
    },
    /// ElGamal, which GnuPG made for the subkeys of DSA keys.
    ElGamal {
        /// The length of the prime in bits.
        bits: u32,
    },
    /// ECDH on NIST P-256.
    P256,
    /// ECDH on NIST P-384.
    P384,
    /// ECDH on NIST P-521.
    P521,
    /// ECDH on Curve25519, in the form of older programs.
    Curve25519,
    /// X25519, in the form of RFC 9580.
    X25519,
}

impl PgpKind {
    pub(super) fn of_curve(curve: Curve) -> Self {
        match curve {
            Curve::P256 => Self::P256,
            Curve::P384 => Self::P384,
            Curve::P521 => Self::P521,
            Curve::Curve25519 => Self::Curve25519,
        }
    }
}

impl fmt::Display for PgpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::ElGamal { bits } => write!(f, "ElGamal-{bits}"),
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Curve25519 => f.write_str("Curve25519"),
            Self::X25519 => f.write_str("X25519"),
        }
    }
}

/// Secret numbers that are ready for decryption.
pub(super) enum Unlocked {
    Rsa(RsaKey),
    ElGamal(ElGamalKey),
    P256(EcKey<p256::NistP256>),
    P384(EcKey<p384::NistP384>),
    P521(EcKey<p521::NistP521>),
    X25519(x25519_dalek::StaticSecret),
}

impl Unlocked {
    /// The additional cost of the previous operation, beyond what was paid for it.
    pub(super) fn cost_of_detour(&self) -> u64 {
        match self {
            Self::Rsa(key) => key.cost_of_detour(),
            _ => 0,
        }
    }
}
