//! The keys that may open a message, by the names of their certificates.

use std::collections::{BTreeMap, BTreeSet};

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::Pkcs7Error;
use super::recipient::{Name, Recipient, Transport};
use crate::bounds::Bounds;
use crate::keys::{Certificate, Fingerprint, OaepRefusal, PrivateKey, RsaKey, Which};

/// The open RSA keys of a ring, and the results of using them.
///
/// Nothing is computed twice: a thousand copies of one recipient cost only one private-key operation.
pub struct Search<'k> {
    keys: Vec<(&'k PrivateKey, &'k RsaKey)>,
    /// The names of certificates by their public keys.
    certified: BTreeMap<Fingerprint, Vec<Name>>,
    named: BTreeMap<Name, Vec<usize>>,
    certificates: usize,
    /// Keys before this index were already tried on all messages.
    first: usize,
    tried: BTreeSet<usize>,
    content_keys: BTreeMap<[u8; 32], Option<Zeroizing<Vec<u8>>>>,
    /// The contents without authentication that each encrypted key is used with.
    contents: BTreeMap<Vec<u8>, BTreeSet<[u8; 32]>>,
}

impl<'k> Search<'k> {
    /// A search with these keys, each with its certificates: a certificate belongs to the private key
    /// with the same public key.
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

    /// Continues with only this key, which has just been opened.
    pub fn goes_on_with(&mut self, named: &'k PrivateKey) {
        self.first = self.keys.len();
        self.add(named);
    }

    /// Continues with all keys, beginning with the first.
    pub(super) fn starts_over(&mut self) {
        self.first = 0;
    }

    fn add(&mut self, named: &'k PrivateKey) {
        let Some(key) = named.as_rsa() else { return };
        // Fingerprints are needed only if there are certificates.
        if !self.certified.is_empty() {
            let names = self.certified.remove(&named.fingerprint()).unwrap_or_default();
            for name in names {
                self.named.entry(name).or_default().push(self.keys.len());
            }
        }
        self.keys.push((named, key));
    }

    /// The number of keys that are to be tried.
    pub(super) fn keys(&self) -> usize {
        self.keys.len() - self.first
    }

    /// The keys that were tried so far, in the order of the ring.
    pub fn tried(&self) -> impl ExactSizeIterator<Item = &'k PrivateKey> + Clone + '_ {
        self.tried.iter().map(|index| self.keys[*index].0)
    }

    /// The key at an index.
    pub(super) fn key(&self, position: usize) -> &'k PrivateKey {
        self.keys[position].0
    }

    /// The RSA key at an index.
    pub(super) fn rsa_key(&self, position: usize) -> &'k RsaKey {
        self.keys[position].1
    }

    /// Records that the encrypted key of `recipient` is used with a content that is not authenticated
    /// and has this identity.
    pub(super) fn announce(&mut self, recipient: &Recipient, content: [u8; 32]) {
        let contents = self.contents.entry(recipient.encrypted_key.clone()).or_default();
        contents.insert(content);
    }

    /// Whether the encrypted key of `recipient` is used with several contents that are not
    /// authenticated. An attacker who sends the same one with thousands of them would get an answer
    /// about each.
    pub(super) fn has_several_contents(&self, recipient: &Recipient) -> bool {
        self.contents.get(&recipient.encrypted_key).is_some_and(|contents| contents.len() > 1)
    }

    /// Whether the certificate of an open key is the one that `recipient` names.
    pub(super) fn is_named(&self, recipient: &Recipient) -> bool {
        self.named.contains_key(&recipient.name)
    }

    /// The number of certificates, with or without a private key.
    pub fn certificates(&self) -> usize {
        self.certificates
    }

    /// The indices of the keys to try for `recipient`. The length of the wrapped key is that of the
    /// modulus (RFC 8017, section 7.2.2, step 1).
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

    /// The content key of `recipient` for the key at the index `key`, of `length` bytes. None if it is
    /// known that the recipient is not for this key, which is never known with RSAES-PKCS1-v1_5.
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
