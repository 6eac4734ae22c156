//! The keys that may open a message, by the names of their certificates, and a bound on the work
//! that hostile messages can cause.

use std::collections::{BTreeMap, BTreeSet};

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::Pkcs7Error;
use super::recipient::{Name, Recipient, Transport};
use crate::jwe::Work;
use crate::key::{OaepRefusal, PrivateKey, RsaKey};
use crate::keyring::{KeyRing, NamedKey};

/// Which keys to try for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those whose certificate the recipient names.
    Named,
    /// Every RSA key with a modulus as long as the wrapped key.
    AnyKey,
}

/// The RSA keys of a ring, what came out of them, and how much more may be tried.
///
/// Nothing is computed twice: a thousand copies of one recipient cost one private-key operation.
pub struct Search<'k> {
    keys: Vec<(&'k NamedKey, &'k RsaKey)>,
    named: BTreeMap<Name, Vec<usize>>,
    certificates: usize,
    work: Work,
    tried: BTreeSet<usize>,
    content_keys: BTreeMap<[u8; 32], Option<Zeroizing<Vec<u8>>>>,
    /// The contents without authentication that each encrypted key comes with.
    contents: BTreeMap<Vec<u8>, BTreeSet<[u8; 32]>>,
}

impl<'k> Search<'k> {
    /// Finds the key of each certificate of `ring`: a certificate belongs to the private key that
    /// has the same public half.
    pub fn new(ring: &'k KeyRing) -> Self {
        let keys: Vec<_> = ring
            .keys()
            .filter_map(|named| match named.key() {
                PrivateKey::Rsa(key) => Some((named, key)),
                _ => None,
            })
            .collect();
        // Without certificates, fingerprints are not needed.
        let mut by_fingerprint = BTreeMap::new();
        if !ring.certificates().is_empty() {
            let prints = keys.iter().map(|(named, _)| named.key().fingerprint());
            by_fingerprint = prints.enumerate().map(|(index, print)| (print, index)).collect();
        }
        let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for certificate in ring.certificates() {
            let Some(key) = by_fingerprint.get(&certificate.public_key()) else { continue };
            for name in Name::all_of(certificate) {
                let keys = named.entry(name).or_default();
                if !keys.contains(key) {
                    keys.push(*key);
                }
            }
        }
        Self {
            keys,
            named,
            certificates: ring.certificates().len(),
            work: Work::default(),
            tried: BTreeSet::new(),
            content_keys: BTreeMap::new(),
            contents: BTreeMap::new(),
        }
    }

    /// The keys that were tried so far, in the order of the ring.
    pub fn tried(&self) -> impl ExactSizeIterator<Item = &'k NamedKey> + Clone + '_ {
        self.tried.iter().map(|index| self.keys[*index].0)
    }

    /// The key at a position.
    pub(super) fn key(&self, position: usize) -> &'k NamedKey {
        self.keys[position].0
    }

    /// The RSA key at a position.
    pub(super) fn rsa_key(&self, position: usize) -> &'k RsaKey {
        self.keys[position].1
    }

    /// Notes that the encrypted key of `recipient` comes with a content that is not authenticated and
    /// has this identity.
    pub(super) fn announce(&mut self, recipient: &Recipient, content: [u8; 32]) {
        let contents = self.contents.entry(recipient.encrypted_key.clone()).or_default();
        contents.insert(content);
    }

    /// Whether the encrypted key of `recipient` comes with several contents that are not authenticated.
    /// Who sends the same one with thousands of them would get an answer about each.
    pub(super) fn has_several_contents(&self, recipient: &Recipient) -> bool {
        self.contents.get(&recipient.encrypted_key).is_some_and(|contents| contents.len() > 1)
    }

    /// How many certificates there are, whether a key belongs to them or not.
    pub fn certificates(&self) -> usize {
        self.certificates
    }

    /// The keys to try for `recipient`, by their positions. The length of the wrapped key tells
    /// that of the modulus (RFC 8017, section 7.2.2, step 1).
    pub(super) fn keys_for(&self, recipient: &Recipient, which: Which) -> Vec<usize> {
        let fits = |index: &usize| self.keys[*index].1.size() == recipient.encrypted_key.len();
        match which {
            Which::Named => {
                let named = self.named.get(&recipient.name).into_iter().flatten();
                named.copied().filter(fits).collect()
            }
            Which::AnyKey => (0..self.keys.len()).filter(fits).collect(),
        }
    }

    /// The content key that `recipient` has for the key at the position `key`, of `length` bytes.
    /// None if it is not for this key, as far as that shows: with RSAES-PKCS1-v1_5 it does not.
    ///
    /// `id` is the identity of the attempt.
    pub(super) fn content_key<R: TryCryptoRng + ?Sized>(
        &mut self,
        key: usize,
        recipient: &Recipient,
        id: [u8; 32],
        length: usize,
        rng: &mut R,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Pkcs7Error> {
        if let Some(known) = self.content_keys.get(&id) {
            return Ok(known.clone());
        }
        let (named, rsa) = self.keys[key];
        self.work.spend(named.key().kind()).map_err(|_| Pkcs7Error::TooMuchWork)?;
        self.tried.insert(key);
        let encrypted_key = &recipient.encrypted_key;
        let opened = match recipient.transport {
            Transport::Pkcs1v15 => rsa.decrypt_pkcs1v15(length, encrypted_key, rng),
            Transport::Oaep { hash, mask } => {
                let opened = rsa.decrypt_oaep_masked(hash, mask, encrypted_key, rng);
                opened.and_then(|key| {
                    let fits = key.len() == length;
                    fits.then_some(key).ok_or(OaepRefusal::WrongKey)
                })
            }
        };
        let opened = match opened {
            Ok(content_key) => Some(content_key),
            Err(OaepRefusal::WrongKey) => None,
            Err(OaepRefusal::NoRandomness) => return Err(Pkcs7Error::NoRandomness),
        };
        self.content_keys.insert(id, opened.clone());
        Ok(opened)
    }
}
