//! PBES2 (RFC 8018, section 6.2): a key is derived from the password with PBKDF2 or scrypt (RFC 7914),
//! and a cipher in CBC mode decrypts with it.
//!
//! The crate `pkcs5` does the same, but panics for a DES vector that is too short and for an N of zero,
//! and leaves the derived key in memory. So the parameters, which are few, are parsed here, and are
//! bounded before anything is computed.

use pbkdf2::pbkdf2_hmac;
use pkcs8::der::asn1::{AnyRef, OctetStringRef, UintRef};
use pkcs8::der::{self, Decode, Reader, SliceReader};
use pkcs8::spki::{AlgorithmIdentifierRef, ObjectIdentifier};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::cipher::Cipher;
use super::{NotAKey, PKCS8, Work, rounds};

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const SCRYPT: &str = "1.3.6.1.4.1.11591.4.11";

const PRFS: [(&str, Prf); 5] = [
    ("1.2.840.113549.2.7", Prf::Sha1),
    ("1.2.840.113549.2.8", Prf::Sha224),
    ("1.2.840.113549.2.9", Prf::Sha256),
    ("1.2.840.113549.2.10", Prf::Sha384),
    ("1.2.840.113549.2.11", Prf::Sha512),
];

const CIPHERS: [(&str, Cipher); 5] = [
    ("1.3.14.3.2.7", Cipher::Des),
    ("1.2.840.113549.3.7", Cipher::TripleDes),
    ("2.16.840.1.101.3.4.1.2", Cipher::Aes128),
    ("2.16.840.1.101.3.4.1.22", Cipher::Aes192),
    ("2.16.840.1.101.3.4.1.42", Cipher::Aes256),
];

/// Names for algorithms that other programs write and that are not supported.
const UNSUPPORTED: [(&str, &str); 13] = [
    ("1.2.840.113549.1.5.1", "PBE-MD2-DES"),
    ("1.2.840.113549.1.5.3", "PBE-MD5-DES"),
    ("1.2.840.113549.1.5.6", "PBE-MD5-RC2"),
    ("1.2.840.113549.1.5.10", "PBE-SHA1-DES"),
    ("1.2.840.113549.1.5.11", "PBE-SHA1-RC2"),
    ("1.2.840.113549.1.12.1.1", "PBE-SHA1-RC4-128"),
    ("1.2.840.113549.1.12.1.3", "PBE-SHA1-3DES"),
    ("1.2.840.113549.1.12.1.4", "PBE-SHA1-2DES"),
    ("1.2.840.113549.1.12.1.6", "PBE-SHA1-RC2-40"),
    ("1.2.840.113549.3.2", "RC2-CBC"),
    ("1.2.840.113549.2.13", "HMAC-SHA-512/256"),
    ("2.16.840.1.101.3.4.1.6", "AES-128-GCM"),
    ("2.16.840.1.101.3.4.1.46", "AES-256-GCM"),
];

/// The largest value of `128 × N × r` and `128 × r × p` of scrypt: 64 MiB. The step that opens keys has
/// 256 MiB for everything.
const MAX_SCRYPT_MEMORY: u64 = 64 * 1024 * 1024;

/// The measured cost of one of the `N × r × p` steps of scrypt, in rounds.
const SCRYPT_ROUNDS: u64 = 2;

/// An `EncryptedPrivateKeyInfo` (RFC 5958, section 3) with PBES2.
pub(super) struct Pbes2<'a> {
    kdf: Kdf<'a>,
    cipher: Cipher,
    iv: &'a [u8],
    ciphertext: &'a [u8],
}

/// How the key is derived from the password. Numbers beyond all bounds are clamped.
enum Kdf<'a> {
    Pbkdf2 { salt: &'a [u8], rounds: u64, prf: Prf },
    Scrypt { salt: &'a [u8], n: u64, r: u64, p: u64 },
}

/// HMAC with this hash.
#[derive(Clone, Copy)]
enum Prf {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl<'a> Pbes2<'a> {
    /// Parses the form, and refuses keys that would take too much time or memory to open.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, NotAKey> {
        let whole = AnyRef::from_der(der).map_err(malformed)?;
        let (scheme, ciphertext) = sequence(whole, |reader| {
            let scheme = AlgorithmIdentifierRef::decode(reader)?;
            Ok((scheme, <&OctetStringRef>::decode(reader)?.as_bytes()))
        })?;
        if scheme.oid.to_string() != PBES2 {
            return Err(unsupported(scheme.oid));
        }
        let (kdf, cipher) = sequence(parameters(&scheme)?, |reader| {
            Ok((AlgorithmIdentifierRef::decode(reader)?, AlgorithmIdentifierRef::decode(reader)?))
        })?;
        let iv = parameters(&cipher)
            .and_then(|any| any.decode_as::<&OctetStringRef>().map_err(malformed));
        let cipher = known(&CIPHERS, cipher.oid)?;
        let (kdf, key_length) = Kdf::parse(&kdf)?;
        let iv = iv?.as_bytes();
        if iv.len() != cipher.block_length()
            || key_length.is_some_and(|length| length != cipher.key_length() as u64)
        {
            return Err(NotAKey::Malformed(PKCS8));
        }
        kdf.check(cipher.key_length())?;
        Ok(Self { kdf, cipher, iv, ciphertext })
    }

    /// The cost of deriving the key and of decrypting.
    pub(super) fn cost(&self, password: &[u8]) -> u64 {
        let rounds = self.kdf.rounds(self.cipher.key_length());
        let rounds = rounds.saturating_add(rounds::of_password(password));
        rounds::cost(rounds).saturating_add(self.cipher.cost(self.ciphertext.len()))
    }

    /// Derives the key with the length that the cipher needs.
    pub(super) fn derive_key(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotAKey> {
        let mut key = Zeroizing::new(vec![0; self.cipher.key_length()]);
        self.kdf.derive(password, &mut key)?;
        Ok(key)
    }

    pub(super) fn decrypt(&self, key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.cipher.decrypt(key, self.iv, self.ciphertext)
    }
}

impl<'a> Kdf<'a> {
    /// Parses the function and, if it is stated, the length of its key.
    fn parse(algorithm: &AlgorithmIdentifierRef<'a>) -> Result<(Self, Option<u64>), NotAKey> {
        let values = parameters(algorithm);
        match algorithm.oid.to_string().as_str() {
            // RFC 8018, appendix A.2
            PBKDF2 => sequence(values?, |reader| {
                let salt = <&OctetStringRef>::decode(reader)?.as_bytes();
                let rounds = number(reader)?;
                let key_length = optional_number(reader)?;
                let prf = Option::<AlgorithmIdentifierRef<'_>>::decode(reader)?;
                Ok((salt, rounds, key_length, prf))
            })
            .and_then(|(salt, rounds, key_length, prf)| {
                let prf = prf.map_or(Ok(Prf::Sha1), |prf| known(&PRFS, prf.oid))?;
                Ok((Self::Pbkdf2 { salt, rounds, prf }, key_length))
            }),
            // RFC 7914, section 7.1
            SCRYPT => sequence(values?, |reader| {
                let salt = <&OctetStringRef>::decode(reader)?.as_bytes();
                let (n, r, p) = (number(reader)?, number(reader)?, number(reader)?);
                Ok((Self::Scrypt { salt, n, r, p }, optional_number(reader)?))
            }),
            _ => Err(unsupported(algorithm.oid)),
        }
    }

    /// Checks that the function is defined for its numbers and that its cost is allowed.
    fn check(&self, key_length: usize) -> Result<(), NotAKey> {
        match *self {
            Self::Pbkdf2 { rounds: 0, .. } => Err(NotAKey::Malformed(PKCS8)),
            Self::Pbkdf2 { rounds, .. } => {
                rounds::check(self.rounds(key_length), Work::Pbkdf2(rounds))
            }
            Self::Scrypt { n, r, p, .. } if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 => {
                Err(NotAKey::Malformed(PKCS8))
            }
            Self::Scrypt { n, r, p, .. } => {
                let work = Work::Scrypt { n, r, p };
                if r.saturating_mul(128).saturating_mul(n.max(p)) > MAX_SCRYPT_MEMORY {
                    return Err(NotAKey::TooMuchWork(work));
                }
                rounds::check(self.rounds(key_length), work)
            }
        }
    }

    /// The cost of the function, in rounds of [`Budget`].
    fn rounds(&self, key_length: usize) -> u64 {
        match *self {
            Self::Pbkdf2 { rounds, prf, .. } => {
                let (hash, cost) = match prf {
                    Prf::Sha1 => (20, 1),
                    Prf::Sha224 => (28, 1),
                    Prf::Sha256 => (32, 1),
                    Prf::Sha384 => (48, 2),
                    Prf::Sha512 => (64, 2),
                };
                rounds.saturating_mul(key_length.div_ceil(hash) as u64 * cost)
            }
            Self::Scrypt { n, r, p, .. } => {
                n.saturating_mul(r).saturating_mul(p).saturating_mul(SCRYPT_ROUNDS)
            }
        }
    }

    fn derive(&self, password: &[u8], key: &mut [u8]) -> Result<(), NotAKey> {
        let unfit = NotAKey::Malformed(PKCS8);
        match *self {
            Self::Pbkdf2 { salt, rounds, prf } => {
                let rounds = u32::try_from(rounds).map_err(|_| unfit)?;
                match prf {
                    Prf::Sha1 => pbkdf2_hmac::<Sha1>(password, salt, rounds, key),
                    Prf::Sha224 => pbkdf2_hmac::<Sha224>(password, salt, rounds, key),
                    Prf::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, rounds, key),
                    Prf::Sha384 => pbkdf2_hmac::<Sha384>(password, salt, rounds, key),
                    Prf::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, rounds, key),
                }
                Ok(())
            }
            Self::Scrypt { salt, n, r, p } => {
                let numbers = (u8::try_from(n.ilog2()), u32::try_from(r), u32::try_from(p));
                let (Ok(log_n), Ok(r), Ok(p)) = numbers else { return Err(unfit) };
                let parameters = scrypt::Params::new(log_n, r, p).map_err(|_| unfit.clone())?;
                scrypt::scrypt(password, salt, &parameters, key).map_err(|_| unfit)
            }
        }
    }
}

/// Parses the content of a SEQUENCE, which must end where `read` ends.
fn sequence<'a, T>(
    any: AnyRef<'a>,
    read: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>,
) -> Result<T, NotAKey> {
    any.sequence(read).map_err(malformed)
}

fn parameters<'a>(algorithm: &AlgorithmIdentifierRef<'a>) -> Result<AnyRef<'a>, NotAKey> {
    algorithm.parameters.ok_or(NotAKey::Malformed(PKCS8))
}

fn number<'a>(reader: &mut impl Reader<'a>) -> der::Result<u64> {
    Ok(cut(UintRef::decode(reader)?))
}

fn optional_number<'a>(reader: &mut impl Reader<'a>) -> der::Result<Option<u64>> {
    Ok(Option::<UintRef<'_>>::decode(reader)?.map(cut))
}

fn cut(number: UintRef<'_>) -> u64 {
    let bytes = number.as_bytes();
    match bytes.len() {
        0..=8 => bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        _ => u64::MAX,
    }
}

fn known<T: Copy>(table: &[(&str, T)], oid: ObjectIdentifier) -> Result<T, NotAKey> {
    let text = oid.to_string();
    let found = table.iter().find(|(known, _)| *known == text);
    found.map(|(_, value)| *value).ok_or_else(|| unsupported(oid))
}

fn unsupported(oid: ObjectIdentifier) -> NotAKey {
    let oid = oid.to_string();
    let name = UNSUPPORTED.iter().find(|(known, _)| *known == oid);
    NotAKey::UnsupportedEncryption(name.map_or(oid, |(_, name)| (*name).to_owned()))
}

/// The error does not need details: the form is wrong.
fn malformed(_: der::Error) -> NotAKey {
    NotAKey::Malformed(PKCS8)
}
