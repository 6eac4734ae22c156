//! The keys that may open a message, by the names of their certificates.

use std::collections::{BTreeMap, BTreeSet};

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::Pkcs7Error;
use super::recipient::{Name, Recipient, Transport};
use crate::bounds::Bounds;
use crate::keys::{Certificate, Fingerprint, OaepRefusal, PrivateKey, RsaKey, Which};

/// The RSA keys of a ring that are open, and what came out of them.
///
/// Nothing is computed twice: a thousand copies of one recipient cost one private-key operation.
pub struct Search<'k> {
    keys: Vec<(&'k PrivateKey, &'k RsaKey)>,
    /// The names of certificates by their public keys.
    certified: BTreeMap<Fingerprint, Vec<Name>>,
    named: BTreeMap<Name, Vec<usize>>,
    certificates: usize,
    /// Keys before this one were tried on all messages.
    first: usize,
    tried: BTreeSet<usize>,
    content_keys: BTreeMap<[u8; 32], Option<Zeroizing<Vec<u8>>>>,
    /// The contents without authentication that each encrypted key comes with.
    contents: BTreeMap<Vec<u8>, BTreeSet<[u8; 32]>>,
}

impl<'k> Search<'k> {
    /// A search with these keys, each with its certificates: a certificate belongs to the private
    /// key that has the same public half.
    pub fn new(
        keys: impl IntoIterator<Item = &'k PrivateKey>,
        certificates: &[Certificate],
    ) -> Self {
        let mut certified: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for certificate in certificates {
            let names: &mut Vec<_> = certified.entry(certificate.public_key()).or_default();
            for name in Name::all_of(certificate) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let mut search = Self {
            keys: Vec::new(),
            certified,
            named: BTreeMap::new(),
            certificates: certificates.len(),
            first: 0,
            tried: BTreeSet::new(),
            content_keys: BTreeMap::new(),
            contents: BTreeMap::new(),
        };
        keys.into_iter().for_each(|key| search.add(key));
        search
    }

    /// Goes on with this key alone, which has been opened meanwhile.
    pub fn goes_on_with(&mut self, named: &'k PrivateKey) {
        self.first = self.keys.len();
        self.add(named);
    }

    /// Goes on with all keys, from the first on.
    pub(super) fn starts_over(&mut self) {
        self.first = 0;
    }

    fn add(&mut self, named: &'k PrivateKey) {
        let Some(key) = named.as_rsa() else { return };
        // Without certificates, fingerprints are not needed.
        if !self.certified.is_empty() {
            let names = self.certified.remove(&named.fingerprint()).unwrap_or_default();
            for name in names {
                self.named.entry(name).or_default().push(self.keys.len());
            }
        }
        self.keys.push((named, key));
    }

    /// How many keys are to be tried.
    pub(super) fn keys(&self) -> usize {
        self.keys.len() - self.first
    }

    /// The keys that were tried so far, in the order of the ring.
    pub fn tried(&self) -> impl ExactSizeIterator<Item = &'k PrivateKey> + Clone + '_ {
        self.tried.iter().map(|index| self.keys[*index].0)
    }

    /// The key at a position.
    pub(super) fn key(&self, position: usize) -> &'k PrivateKey {
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

    /// Whether the certificate of an open key is the one that `recipient` names.
    pub(super) fn is_named(&self, recipient: &Recipient) -> bool {
        self.named.contains_key(&recipient.name)
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
                named.copied().filter(|key| *key >= self.first).filter(fits).collect()
            }
            Which::AnyKey => (self.first..self.keys.len()).filter(fits).collect(),
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
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Pkcs7Error> {
        if let Some(known) = self.content_keys.get(&id) {
            return Ok(known.clone());
        }
        let (_, rsa) = self.keys[key];
        bounds.budget.spend(rsa.cost())?;
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
        bounds.budget.spend(rsa.cost_of_detour())?;
        let opened = match opened {
            Ok(content_key) => Some(content_key),
            Err(OaepRefusal::WrongKey) => None,
            Err(OaepRefusal::NoRandomness) => return Err(Pkcs7Error::NoRandomness),
        };
        self.content_keys.insert(id, opened.clone());
        Ok(opened)
    }
}
