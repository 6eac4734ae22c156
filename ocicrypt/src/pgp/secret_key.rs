//! Secret keys (RFC 9580, sections 5.5.1.3 and 5.5.3) of the kinds that can decrypt.

use std::fmt;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::PgpError;
use super::aead::{self, Mode};
use super::cipher::Cipher;
use super::public::{PgpKind, PublicKey, Unlocked};
use super::reader::Reader;
use super::s2k::{S2k, Specifier};
use crate::budget::cost;

/// An OpenPGP secret key or subkey of a kind that can decrypt. It may be locked with a password. It is
/// wiped when dropped, and has no `Debug`.
pub struct PgpKey {
    version: u8,
    tag: u8,
    fingerprint: PgpFingerprint,
    pub(super) public: PublicKey,
    /// The public part of the packet, which is associated data of the authenticated encryption of the
    /// secret part.
    public_bytes: Vec<u8>,
    lock: Lock,
    secret: Zeroizing<Vec<u8>>,
    password: Option<Zeroizing<Vec<u8>>>,
}

/// How the secret numbers are protected.
enum Lock {
    Open,
    /// CFB with the sum of the numbers (usage 255) or SHA-1 (usage 254).
    Cfb {
        cipher: Cipher,
        s2k: S2k,
        iv: Vec<u8>,
        sha1: bool,
    },
    /// Authenticated encryption (usage 253).
    Aead {
        cipher: Cipher,
        mode: Mode,
        s2k: S2k,
        nonce: Vec<u8>,
    },
}

/// The fingerprint of an OpenPGP key (section 5.5.4): 20 bytes of SHA-1 for version 4, 32 bytes of
/// SHA-256 for version 6. Its text has upper-case hexadecimal digits, as GnuPG shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PgpFingerprint(Vec<u8>);

impl PgpFingerprint {
    /// The fingerprint of the public part of a key packet.
    pub(super) fn of(version: u8, public: &[u8]) -> Self {
        // A packet of this crate's input is far shorter than 2^32 bytes; version 4 uses 16 bits.
        let length = (public.len() as u32).to_be_bytes();
        Self(match version {
            4 => {
                let hash = Sha1::new().chain_update([0x99]).chain_update(&length[2..]);
                hash.chain_update(public).finalize().to_vec()
            }
            _ => {
                let hash = Sha256::new().chain_update([0x9b]).chain_update(length);
                hash.chain_update(public).finalize().to_vec()
            }
        })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key ID: the last eight bytes for version 4, the first eight for version 6.
    pub fn key_id(&self) -> [u8; 8] {
        let id = if self.0.len() == 20 { &self.0[12..] } else { &self.0[..8] };
        id.try_into().unwrap_or_default() // both are eight bytes
    }
}

impl fmt::Display for PgpFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl PgpKey {
    /// Parses the body of a Secret-Key or Secret-Subkey packet. It returns `Ok(None)` for a key that
    /// cannot decrypt, such as one for signatures, or a stub without the secret.
    pub(super) fn parse(
        tag: u8,
        body: &[u8],
        password: Option<&[u8]>,
    ) -> Result<Option<Self>, PgpError> {
        let damaged = PgpError::Malformed("a secret key is damaged or cut off");
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(damaged.clone())?;
        match version {
            4 | 6 => {}
            2 | 3 | 5 => return Err(PgpError::unsupported_number("key version", version)),
            _ => return Err(damaged),
        }
        let _created = reader.u32().ok_or(damaged.clone())?;
        let algorithm = reader.u8().ok_or(damaged.clone())?;
        if version == 6 {
            reader.u32().ok_or(damaged.clone())?;
        }
        let Some(public) = PublicKey::parse(algorithm, &mut reader)? else {
            return Ok(None);
        };
        public.check_size()?;
        let public_bytes = body[..body.len() - reader.rest().len()].to_vec();
        let Some(lock) = Lock::parse(version, &mut reader)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            version,
            tag,
            fingerprint: PgpFingerprint::of(version, &public_bytes),
            public,
            public_bytes,
            lock,
            secret: Zeroizing::new(reader.rest().to_vec()),
            password: password.map(|password| Zeroizing::new(password.to_vec())),
        }))
    }

    /// The fingerprint of the key.
    pub fn fingerprint(&self) -> &PgpFingerprint {
        &self.fingerprint
    }

    /// The kind of the key.
    pub fn kind(&self) -> PgpKind {
        self.public.kind()
    }

    /// Whether the key is locked with a password.
    pub fn is_locked(&self) -> bool {
        !matches!(self.lock, Lock::Open)
    }

    /// Whether both are the same key, and are unlocked in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_password = match (&self.password, &other.password) {
            (Some(a), Some(b)) => a.ct_eq(b).into(),
            (None, None) => true,
            _ => false,
        };
        let open = !self.is_locked() && !other.is_locked();
        self.fingerprint == other.fingerprint
            && (open || same_password && bool::from(self.secret.ct_eq(&other.secret)))
    }

    /// The cost of [`PgpKey::unlock`]: deriving the key from the password, decrypting with it, and
    /// checking the resulting numbers.
    pub(super) fn cost_of_unlocking(&self) -> u64 {
        self.cost_of_decrypting().saturating_add(self.public.cost_of_checking())
    }

    fn cost_of_decrypting(&self) -> u64 {
        let password = self.password.as_deref().map_or(&[][..], Vec::as_slice);
        let (cipher, s2k, each) = match &self.lock {
            Lock::Open => return 0,
            Lock::Cfb { cipher: Cipher::TripleDes, s2k, .. } => {
                (Cipher::TripleDes, s2k, cost::TRIPLE_DES)
            }
            Lock::Cfb { cipher: Cipher::Cast5, s2k, .. } => (Cipher::Cast5, s2k, cost::CAST5),
            Lock::Cfb { cipher, s2k, .. } => (*cipher, s2k, cost::AES_CFB),
            Lock::Aead { cipher, s2k, .. } => (*cipher, s2k, cost::AES_GCM),
        };
        let decrypted = (self.secret.len() as u64).saturating_mul(each + cost::HASHED);
        s2k.cost(password, cipher.key_length()).saturating_add(decrypted)
    }

    /// Returns the secret numbers, with the password if one is needed. The caller has paid
    /// [`PgpKey::cost_of_unlocking`].
    pub(super) fn unlock(&self) -> Result<Unlocked, PgpError> {
        let id = || self.fingerprint.to_string();
        let damaged = || PgpError::DamagedKey(id());
        let password = || match &self.password {
            Some(password) => Ok(password.as_slice()),
            None => Err(PgpError::Locked(id())),
        };
        let open;
        let numbers = match &self.lock {
            // The old sum covers everything, and version 6 has none.
            Lock::Open if self.version == 6 => self.secret.as_slice(),
            Lock::Open => split_sum(&self.secret).ok_or_else(damaged)?,
            Lock::Cfb { cipher, s2k, iv, sha1 } => {
                let key = s2k.derive(password()?, cipher.key_length());
                let mut text = self.secret.clone();
                cipher.decrypt_cfb(&key, iv, &mut text).ok_or_else(damaged)?;
                open = text;
                let numbers = if *sha1 { split_sha1(&open) } else { split_sum(&open) };
                numbers.ok_or_else(|| PgpError::WrongPassword(id()))?
            }
            Lock::Aead { cipher, mode, s2k, nonce } => {
                let secret = s2k.derive(password()?, cipher.key_length());
                let kind = 0xc0 | self.tag;
                let info = [kind, self.version, cipher.id(), mode.id()];
                let key = aead::hkdf(&secret, &[], &info, cipher.key_length());
                let associated = [&[kind], self.public_bytes.as_slice()].concat();
                let opened = mode.open(*cipher, &key, nonce, &associated, &self.secret);
                open = opened.ok_or_else(|| PgpError::WrongPassword(id()))?;
                &open
            }
        };
        self.public.with_secret(&mut Reader::new(numbers)).ok_or_else(damaged)
    }
}

impl Lock {
    /// Parses everything between the public part and the secret numbers; none for a stub.
    fn parse(version: u8, reader: &mut Reader<'_>) -> Result<Option<Self>, PgpError> {
        let damaged = PgpError::Malformed("a secret key is damaged or cut off");
        let usage = reader.u8().ok_or(damaged.clone())?;
        if usage == 0 {
            return Ok(Some(Self::Open));
        }
        if usage < 253 {
            return Err(PgpError::unsupported("string-to-key function", "MD5"));
        }
        // Version 6 states the lengths of this part and of the specifier in it.
        if version == 6 {
            reader.u8().ok_or(damaged.clone())?;
        }
        let cipher = reader.u8().ok_or(damaged.clone())?;
        let mode = match usage {
            253 => Some(Mode::of_id(reader.u8().ok_or(damaged.clone())?)?),
            _ => None,
        };
        if version == 6 {
            reader.u8().ok_or(damaged.clone())?;
        }
        let Specifier::Key(s2k) = S2k::parse(reader)? else {
            return Ok(None);
        };
        if let Some(mode) = mode {
            let cipher = Cipher::aes_of_id(cipher)?;
            let nonce = reader.take(mode.nonce_length()).ok_or(damaged)?.to_vec();
            return Ok(Some(Self::Aead { cipher, mode, s2k, nonce }));
        }
        let cipher = Cipher::of_id(cipher)?;
        let iv = reader.take(cipher.block_length()).ok_or(damaged)?.to_vec();
        Ok(Some(Self::Cfb { cipher, s2k, iv, sha1: usage == 254 }))
    }
}

/// Splits off the sum of all bytes and checks it.
pub(super) fn split_sum(bytes: &[u8]) -> Option<&[u8]> {
    let (numbers, sum) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    bool::from(super::sum(numbers).ct_eq(sum)).then_some(numbers)
}

fn split_sha1(bytes: &[u8]) -> Option<&[u8]> {
    let (numbers, hash) = bytes.split_at_checked(bytes.len().checked_sub(20)?)?;
    bool::from(Sha1::digest(numbers)[..].ct_eq(hash)).then_some(numbers)
}
