//! Transferable public keys (RFC 9580, section 10.1), and the choice of the key to encrypt for.

use super::{PgpRecipient, PgpRecipientError, PgpSelector, Unusable};
use crate::pgp::PgpFingerprint;
use crate::pgp::packet::{Packets, tag};
use crate::pgp::reader::Reader;
use crate::pgp::signature::{Signature, Signer, kind};

/// Flags of a key (section 5.2.3.29) for encryption of communications and of storage.
const ENCRYPTS: u8 = 0x04 | 0x08;

/// The longest key, and the longest name, whose signatures are verified, in bytes. Each signature
/// hashes them again, so longer ones would let a small key ring take hours.
const MAX_HASHED: usize = 8192;

/// The body of a key packet, with the fields before its numbers.
struct Key {
    body: Vec<u8>,
    version: u8,
    created: u32,
    algorithm: u8,
    fingerprint: PgpFingerprint,
    /// The offset of the numbers.
    numbers: usize,
}

/// A name, a subkey or the key itself, and the signatures that follow it.
struct Signed<T> {
    what: T,
    signatures: Vec<Signature>,
}

/// What a key's signatures say about a name.
enum Standing<'a> {
    /// The name is its own, by this signature, the newest.
    Signed(&'a Signature),
    /// No valid signature says anything about it.
    Unsigned,
    /// The name is revoked.
    Revoked,
}

/// A key with its names and subkeys.
pub(super) struct Certificate {
    primary: Signed<Key>,
    names: Vec<Signed<Vec<u8>>>,
    subkeys: Vec<Signed<Key>>,
}

impl Certificate {
    /// Parses all keys of a key ring.
    ///
    /// # Errors
    /// [`PgpRecipientError::Malformed`] if a packet is damaged or truncated,
    /// [`PgpRecipientError::SecretKey`].
    pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<Self>, PgpRecipientError> {
        let damaged = || PgpRecipientError::Malformed;
        let mut certificates: Vec<Self> = Vec::new();
        // The tag of the packet that the next signatures are about.
        let mut last = tag::MARKER;
        for packet in Packets::new(bytes) {
            let packet = packet.map_err(|_| damaged())?;
            let current = certificates.last_mut();
            match (packet.tag, current) {
                (tag::PUBLIC_KEY, _) => {
                    let primary = Signed::new(Key::parse(&packet.body).ok_or_else(damaged)?);
                    certificates.push(Self { primary, names: Vec::new(), subkeys: Vec::new() });
                }
                (tag::PUBLIC_SUBKEY, Some(current)) => {
                    current
                        .subkeys
                        .push(Signed::new(Key::parse(&packet.body).ok_or_else(damaged)?));
                }
                (tag::USER_ID, Some(current)) => {
                    current.names.push(Signed::new(packet.body.to_vec()));
                }
                (tag::SIGNATURE, Some(current)) => {
                    let signatures = match last {
                        tag::PUBLIC_KEY => Some(&mut current.primary.signatures),
                        tag::USER_ID => current.names.last_mut().map(|name| &mut name.signatures),
                        tag::PUBLIC_SUBKEY => {
                            current.subkeys.last_mut().map(|key| &mut key.signatures)
                        }
                        _ => None,
                    };
                    if let Some(signatures) = signatures {
                        signatures.extend(Signature::parse(&packet.body));
                    }
                    continue;
                }
                (tag::SECRET_KEY, _) => return Err(PgpRecipientError::SecretKey),
                // GnuPG's trust packets are between signatures.
                (tag::TRUST, _) => continue,
                // These are pictures and unknown packets.
                _ => {}
            }
            last = packet.tag;
        }
        Ok(certificates)
    }

    /// Whether `whom` selects this key: by the fingerprint or ID of the key or of a subkey, or by a
    /// name that the key has not revoked.
    ///
    /// # Errors
    /// [`Unusable::NotSigned`] if the key has that name, but has not signed it.
    pub(super) fn is(&self, whom: &PgpSelector) -> Result<bool, Unusable> {
        let PgpSelector::Name(wanted) = whom else {
            let mut keys = std::iter::once(&self.primary).chain(&self.subkeys);
            return Ok(keys.any(|key| key.what.is(whom)));
        };
        let mut named = self.names.iter().filter(|name| is_name(&name.what, wanted)).peekable();
        if named.peek().is_none() {
            return Ok(false);
        }
        // Signatures are verified only now, because doing so for every key would be too expensive.
        let signer = self.signer().ok_or(Unusable::Signer)?;
        let mut answer = Ok(false);
        for name in named {
            match self.standing(&signer, name, u64::MAX) {
                Standing::Signed(_) => return Ok(true),
                Standing::Unsigned => answer = Err(Unusable::NotSigned),
                Standing::Revoked => {}
            }
        }
        answer
    }

    pub(super) fn fingerprint(&self) -> &PgpFingerprint {
        &self.primary.what.fingerprint
    }

    /// The key to encrypt for: the subkey that `whom` selects, otherwise the newest valid subkey,
    /// otherwise the primary key.
    pub(super) fn recipient(&self, whom: &PgpSelector, now: u64) -> Result<PgpRecipient, Unusable> {
        if self.primary.what.version != 4 {
            return Err(Unusable::Version(self.primary.what.version));
        }
        let signer = self.signer().ok_or(Unusable::Signer)?;
        let flags = self.check(&signer, now)?;
        let mut subkeys: Vec<_> =
            self.subkeys.iter().filter(|key| key.what.can_encrypt()).collect();
        if let Some(meant) = subkeys.iter().position(|key| key.what.is(whom)) {
            return self.subkey(&signer, subkeys[meant], now);
        }
        subkeys.sort_by_key(|key| std::cmp::Reverse(key.what.created));
        let mut refusal = Unusable::NoEncryption;
        for key in subkeys {
            match self.subkey(&signer, key, now) {
                Ok(recipient) => return Ok(recipient),
                Err(error) => refusal = error,
            }
        }
        let primary = &self.primary.what;
        if primary.can_encrypt() && flags.is_none_or(|flags| flags & ENCRYPTS != 0) {
            return PgpRecipient::new(
                primary.fingerprint.clone(),
                primary.algorithm,
                primary.numbers(),
            );
        }
        Err(refusal)
    }

    fn signer(&self) -> Option<Signer> {
        let key = Some(&self.primary.what).filter(|key| key.body.len() <= MAX_HASHED)?;
        Signer::parse(key.algorithm, key.numbers())
    }

    /// Checks that the key as a whole is valid, and returns what the primary key may be used for.
    fn check(&self, signer: &Signer, now: u64) -> Result<Option<u8>, Unusable> {
        let primary = &self.primary.what;
        let about = primary.hashed();
        let own = self.primary.signatures.iter();
        let mut direct: Option<&Signature> = None;
        for signature in own.filter(|signature| signature.is_by(signer, &[&about])) {
            match signature.kind {
                kind::REVOKES_KEY => return Err(Unusable::Revoked),
                kind::DIRECT if signature.is_current(now) => {
                    direct = newer(direct, signature);
                }
                _ => {}
            }
        }
        let named =
            self.names.iter().fold(None, |known, name| match self.standing(signer, name, now) {
                Standing::Signed(signature) => newer(known, signature),
                Standing::Unsigned | Standing::Revoked => known,
            });
        let found = [direct, named];
        let ends = found.iter().flatten().filter_map(|signature| signature.key_expires);
        if found.iter().all(Option::is_none) {
            return Err(Unusable::NotSigned);
        }
        if u64::from(primary.created) > now {
            return Err(Unusable::NotYet);
        }
        if ends.into_iter().any(|seconds| primary.is_over(seconds, now)) {
            return Err(Unusable::Expired);
        }
        Ok(named.or(direct).and_then(|signature| signature.flags))
    }

    /// What the key's signatures say about one of its names.
    fn standing<'a>(&self, signer: &Signer, name: &'a Signed<Vec<u8>>, now: u64) -> Standing<'a> {
        if name.what.len() > MAX_HASHED {
            return Standing::Unsigned;
        }
        let key = self.primary.what.hashed();
        let length = (name.what.len() as u32).to_be_bytes();
        let parts: [&[u8]; 4] = [&key, &[0xb4], &length, &name.what];
        let mut newest = None;
        for signature in name.signatures.iter().filter(|found| found.is_by(signer, &parts)) {
            match signature.kind {
                kind::REVOKES_NAME => return Standing::Revoked,
                found if kind::NAMES.contains(&found) && signature.is_current(now) => {
                    newest = newer(newest, signature);
                }
                _ => {}
            }
        }
        newest.map_or(Standing::Unsigned, Standing::Signed)
    }

    /// Checks that a subkey is valid: bound to the primary key, neither revoked nor expired, and for
    /// encryption.
    fn subkey(
        &self,
        signer: &Signer,
        subkey: &Signed<Key>,
        now: u64,
    ) -> Result<PgpRecipient, Unusable> {
        let key = &subkey.what;
        if key.body.len() > MAX_HASHED {
            return Err(Unusable::Damaged);
        }
        let about = [self.primary.what.hashed(), key.hashed()].concat();
        let mut binding: Option<&Signature> = None;
        for signature in subkey.signatures.iter().filter(|found| found.is_by(signer, &[&about])) {
            match signature.kind {
                kind::REVOKES_SUBKEY => return Err(Unusable::Revoked),
                kind::SUBKEY if signature.is_current(now) => binding = newer(binding, signature),
                _ => {}
            }
        }
        let binding = binding.ok_or(Unusable::NotSigned)?;
        if binding.flags.is_some_and(|flags| flags & ENCRYPTS == 0) {
            return Err(Unusable::NoEncryption);
        }
        if u64::from(key.created) > now {
            return Err(Unusable::NotYet);
        }
        if binding.key_expires.is_some_and(|seconds| key.is_over(seconds, now)) {
            return Err(Unusable::Expired);
        }
        if key.version != 4 {
            return Err(Unusable::Version(key.version));
        }
        PgpRecipient::new(key.fingerprint.clone(), key.algorithm, key.numbers())
    }
}

fn newer<'a>(known: Option<&'a Signature>, found: &'a Signature) -> Option<&'a Signature> {
    known.filter(|known| known.created > found.created).or(Some(found))
}

impl<T> Signed<T> {
    fn new(what: T) -> Self {
        Self { what, signatures: Vec::new() }
    }
}

impl Key {
    /// Reads the body of a Public-Key or Public-Subkey packet (section 5.5.2).
    fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let version = reader.u8()?;
        let created = reader.u32()?;
        if version == 3 {
            reader.take(2)?;
        }
        let algorithm = reader.u8()?;
        if version == 6 {
            reader.u32()?;
        }
        Some(Self {
            body: body.to_vec(),
            version,
            created,
            algorithm,
            fingerprint: PgpFingerprint::of(version, body),
            numbers: body.len() - reader.rest().len(),
        })
    }

    fn numbers(&self) -> Reader<'_> {
        Reader::new(&self.body[self.numbers..])
    }

    fn can_encrypt(&self) -> bool {
        !matches!(self.algorithm, 3 | 17 | 19 | 22 | 27 | 28)
    }

    fn is(&self, whom: &PgpSelector) -> bool {
        match whom {
            PgpSelector::Fingerprint(wanted) => self.fingerprint.as_bytes() == wanted,
            PgpSelector::KeyId(wanted) => self.fingerprint.key_id() == *wanted,
            PgpSelector::Name(_) => false,
        }
    }

    fn is_over(&self, seconds: u32, now: u64) -> bool {
        u64::from(self.created) + u64::from(seconds) <= now
    }

    /// The bytes of a key that signatures hash (section 5.2.4).
    fn hashed(&self) -> Vec<u8> {
        // Signatures of keys whose length exceeds 16 bits are not verified.
        [&[0x99][..], &(self.body.len() as u16).to_be_bytes(), &self.body].concat()
    }
}

/// Whether `wanted` is a user ID, by convention `Name (Comment) <address>`: as a whole, as its name
/// with or without the comment, or as its address.
fn is_name(user_id: &[u8], wanted: &str) -> bool {
    let user_id = String::from_utf8_lossy(user_id);
    let user_id = user_id.trim();
    let (name, address) = match user_id.rsplit_once('<') {
        Some((name, address)) => (name.trim(), address.trim_end_matches('>').trim()),
        None => (user_id, user_id),
    };
    let without_comment = match name.strip_suffix(')').and_then(|name| name.rsplit_once('(')) {
        Some((name, _comment)) => name.trim(),
        None => name,
    };
    [user_id, name, without_comment].contains(&wanted) || address.eq_ignore_ascii_case(wanted)
}
