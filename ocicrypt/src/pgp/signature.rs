//! Signatures that a key makes about itself (RFC 9580, section 5.2): which names and subkeys are its
//! own, how long they are valid, and which are revoked.

use ed25519_dalek::VerifyingKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::Pkcs1v15Sign;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::public;
use super::reader::Reader;
use crate::keys::public::RsaPublicKey;

/// Signature types (section 5.2.1).
pub(super) mod kind {
    /// The four ways to certify a name, which have the same meaning for a key's own name.
    pub(in crate::pgp) const NAMES: std::ops::RangeInclusive<u8> = 0x10..=0x13;
    pub(in crate::pgp) const SUBKEY: u8 = 0x18;
    pub(in crate::pgp) const DIRECT: u8 = 0x1f;
    pub(in crate::pgp) const REVOKES_KEY: u8 = 0x20;
    pub(in crate::pgp) const REVOKES_SUBKEY: u8 = 0x28;
    pub(in crate::pgp) const REVOKES_NAME: u8 = 0x30;
}

/// Public-key algorithms for signatures (section 9.1).
const RSA_SIGN_ONLY: u8 = 3;
const ECDSA: u8 = 19;
const EDDSA: u8 = 22;
const ED25519: u8 = 27;

/// One signature of version 4 that is not verified yet.
pub(super) struct Signature {
    pub(super) kind: u8,
    /// When it was made, in seconds since 1970.
    pub(super) created: u32,
    /// The number of seconds after which the signature expires.
    expires: Option<u32>,
    /// The number of seconds after its creation at which the key expires.
    pub(super) key_expires: Option<u32>,
    /// What the key may be used for.
    pub(super) flags: Option<u8>,
    algorithm: u8,
    hash: Hash,
    /// The part of the signature packet that is itself signed.
    hashed: Vec<u8>,
    /// The first bytes of the digest.
    left: [u8; 2],
    numbers: Vec<u8>,
}

/// Hash functions. SHA-1, MD5 and RIPEMD-160 are not secure for signatures any more (section 9.5).
#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Signature {
    /// Parses the body of a packet. It returns None if the body is damaged, has another version, has an
    /// insecure hash function, or requires something that is not known here: then it is ignored.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let [4, kind, algorithm, hash] = reader.array()? else { return None };
        let hash = match hash {
            8 => Hash::Sha256,
            9 => Hash::Sha384,
            10 => Hash::Sha512,
            _ => return None,
        };
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        let subpackets = reader.take(length)?;
        let hashed = body[..6 + length].to_vec();
        let unhashed = usize::from(u16::from_be_bytes(reader.array()?));
        reader.take(unhashed)?;
        let left = reader.array()?;
        let mut signature = Self {
            kind,
            created: 0,
            expires: None,
            key_expires: None,
            flags: None,
            algorithm,
            hash,
            hashed,
            left,
            numbers: reader.rest().to_vec(),
        };
        signature.read_subpackets(subpackets)?;
        Some(signature)
    }

    /// Section 5.2.3.7.
    fn read_subpackets(&mut self, bytes: &[u8]) -> Option<()> {
        let mut created = None;
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let length = match reader.u8()? {
                short @ 0..192 => usize::from(short),
                long @ 192..255 => {
                    ((usize::from(long) - 192) << 8) + usize::from(reader.u8()?) + 192
                }
                255 => usize::try_from(reader.u32()?).ok()?,
            };
            let mut subpacket = Reader::new(reader.take(length)?);
            let tag = subpacket.u8()?;
            let seconds = |mut subpacket: Reader<'_>| subpacket.u32();
            match tag & 0x7f {
                2 => created = Some(seconds(subpacket)?),
                // Zero means that it does not expire.
                3 => self.expires = Some(seconds(subpacket)?).filter(|seconds| *seconds > 0),
                9 => self.key_expires = Some(seconds(subpacket)?).filter(|seconds| *seconds > 0),
                27 => self.flags = Some(subpacket.u8().unwrap_or(0)),
                // These do not affect the validity of a key: preferences, who signed, and why.
                4 | 7 | 11 | 12 | 16 | 21..=26 | 29..=34 | 39 => {}
                _ if tag & 0x80 != 0 => return None,
                _ => {}
            }
        }
        self.created = created?;
        Some(())
    }

    /// Whether it was made before `now` and has not expired.
    pub(super) fn is_current(&self, now: u64) -> bool {
        let end = self.expires.map(|seconds| u64::from(self.created) + u64::from(seconds));
        u64::from(self.created) <= now && end.is_none_or(|end| now < end)
    }

    /// Whether `signer` made it about `parts`, which are hashed one after the other.
    pub(super) fn is_by(&self, signer: &Signer, parts: &[&[u8]]) -> bool {
        let digest = match self.hash {
            Hash::Sha256 => self.digest::<Sha256>(parts),
            Hash::Sha384 => self.digest::<Sha384>(parts),
            Hash::Sha512 => self.digest::<Sha512>(parts),
        };
        // Most signatures of others fail here, before anything expensive.
        digest.starts_with(&self.left) && signer.verifies(self, &digest).unwrap_or(false)
    }

    /// Section 5.2.4.
    fn digest<D: Digest>(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut hash = D::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.update(&self.hashed);
        hash.update([4, 0xff]);
        // The length is at most 64 KiB and a few bytes.
        hash.update((self.hashed.len() as u32).to_be_bytes());
        hash.finalize().to_vec()
    }
}

/// A public key whose signatures can be verified.
pub(super) enum Signer {
    Rsa(RsaPublicKey),
    Ed25519(VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

impl Signer {
    /// Parses the numbers of a key of `algorithm`. None if it is damaged, too short, or of an algorithm
    /// that is not verified here, such as DSA.
    pub(super) fn parse(algorithm: u8, mut reader: Reader<'_>) -> Option<Self> {
        Some(match algorithm {
            public::RSA | RSA_SIGN_ONLY => {
                Self::Rsa(RsaPublicKey::new(reader.mpi()?, reader.mpi()?).ok()?)
            }
            ED25519 => Self::ed25519(reader.take(32)?)?,
            EDDSA | ECDSA => match (algorithm, reader.prefixed()?) {
                (EDDSA, [0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1]) => {
                    Self::ed25519(reader.mpi()?.strip_prefix(&[0x40])?)?
                }
                (ECDSA, oid) => {
                    let point = reader.mpi()?;
                    match public::Curve::of_oid(oid)? {
                        public::Curve::P256 => {
                            Self::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
                        }
                        public::Curve::P384 => {
                            Self::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
                        }
                        public::Curve::P521 => {
                            Self::P521(p521::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
                        }
                        public::Curve::Curve25519 => return None,
                    }
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    fn ed25519(key: &[u8]) -> Option<Self> {
        VerifyingKey::from_bytes(key.try_into().ok()?).ok().map(Self::Ed25519)
    }

    /// Verifies the signature. None if it is damaged or of another algorithm.
    fn verifies(&self, signature: &Signature, digest: &[u8]) -> Option<bool> {
        let mut numbers = Reader::new(&signature.numbers);
        Some(match (self, signature.algorithm) {
            (Self::Rsa(key), public::RSA | RSA_SIGN_ONLY) => {
                let scheme = match signature.hash {
                    Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                    Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                    Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
                };
                key.verifies(scheme, digest, numbers.mpi()?)
            }
            (Self::Ed25519(key), EDDSA | ED25519) => {
                let bytes = match signature.algorithm {
                    ED25519 => numbers.take(64)?.to_vec(),
                    _ => pair::<32>(&mut numbers)?,
                };
                let signature = ed25519_dalek::Signature::from_slice(&bytes).ok()?;
                key.verify_strict(digest, &signature).is_ok()
            }
            (Self::P256(key), ECDSA) => {
                let signature = p256::ecdsa::Signature::from_slice(&pair::<32>(&mut numbers)?);
                key.verify_prehash(digest, &signature.ok()?).is_ok()
            }
            (Self::P384(key), ECDSA) => {
                let signature = p384::ecdsa::Signature::from_slice(&pair::<48>(&mut numbers)?);
                key.verify_prehash(digest, &signature.ok()?).is_ok()
            }
            (Self::P521(key), ECDSA) => {
                let signature = p521::ecdsa::Signature::from_slice(&pair::<66>(&mut numbers)?);
                key.verify_prehash(digest, &signature.ok()?).is_ok()
            }
            _ => return None,
        })
    }
}

/// Two numbers, each padded to `N` bytes.
fn pair<const N: usize>(numbers: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut pair = vec![0; 2 * N];
    for half in pair.chunks_mut(N) {
        let number = numbers.mpi()?;
        let start = N.checked_sub(number.len())?;
        half[start..].copy_from_slice(number);
    }
    Some(pair)
}
