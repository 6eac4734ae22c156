//! The private keys that may be tried, and the files that were passed over.

mod files;
mod named;
mod parsed;
mod skipped;

use std::fmt;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::budget::{Budget, Exhausted};
use crate::encoding::text::printable;
use crate::format::payload::Parameters;
use crate::keys::{Certificate, PrivateKey};
use crate::pgp::PgpKey;

use files::{Beside, Found, OfPayload};
pub use files::{KeyFile, PASSWORD_SUFFIXES};
pub use named::{NamedKey, NamedPgpKey};
use parsed::ParsedRing;
pub(crate) use parsed::Place;
pub use skipped::{SkipReason, Skipped};

/// The most keys in a ring. A node has a handful; each can cost a private-key operation for each
/// wrapped key of a layer.
pub const MAX_KEYS: usize = 1024;

/// The largest total size of a ring's files, in bytes: 32 MiB. Files are kept until all of them are
/// known, because the password for one may be in another.
pub const MAX_FILES: usize = 32 * 1024 * 1024;

/// The most certificates in a ring: enough for several bundles of all public authorities.
pub const MAX_CERTIFICATES: usize = 4096;

/// The most keys that a text lists.
const LISTED: usize = 8;

/// Private keys in the order in which they are tried: those of files first, then those of the payload.
/// It is wiped when dropped.
///
/// Files may be added in any order, passwords before or after their keys. They are parsed when the keys
/// are first requested. A key that is encrypted, or whose file lacks its primes, is opened only when it
/// is needed: by [`unwrap`](mod@crate::unwrap) after all others were tried, or when all keys are
/// requested.
#[derive(Default)]
pub struct KeyRing {
    files: Vec<Found>,
    from_payload: Vec<OfPayload>,
    bytes: usize,
    parsed: OnceLock<ParsedRing>,
}

impl KeyRing {
    /// A ring without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all keys and certificates in these bytes of the file `name`. If the name is that of another
    /// file with one of [`PASSWORD_SUFFIXES`], the file is the password of that one. All other files
    /// are recorded as skipped.
    ///
    /// Go ctd-decoder stops at a file that is not a private key, and at one that is encrypted; Keycell
    /// continues.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) {
        let together = self.bytes.saturating_add(bytes.len());
        if together > MAX_FILES {
            let reason = format!("the files are larger than {} MiB together", MAX_FILES >> 20);
            return self.skip(name, &reason);
        }
        self.bytes = together;
        let (name, bytes) = (name.to_owned(), Zeroizing::new(bytes.to_vec()));
        self.files.push(Found::File { name, bytes });
        self.parsed.take();
    }

    /// Adds all private keys of the payload's parameters, each with the password at the same index, and
    /// all certificates.
    pub fn add_parameters(&mut self, parameters: &Parameters) {
        for (name, keys, passwords) in [
            ("privkeys", parameters.private_keys(), parameters.private_key_passwords()),
            (
                "gpg-privatekeys",
                parameters.pgp_private_keys(),
                parameters.pgp_private_key_passwords(),
            ),
        ] {
            let mut passwords = passwords.iter();
            for (index, bytes) in keys.iter().enumerate() {
                let password = passwords.next().filter(|password| !password.is_empty()).cloned();
                // A `null` is not a key and not an error.
                if !bytes.is_empty() {
                    let name = format!("{name}[{index}]");
                    self.from_payload.push(OfPayload { name, bytes: bytes.clone(), password });
                }
            }
        }
        for (index, bytes) in parameters.certificates().iter().enumerate() {
            if !bytes.is_empty() {
                let name = format!("x509s[{index}]");
                self.from_payload.push(OfPayload { name, bytes: bytes.clone(), password: None });
            }
        }
        self.parsed.take();
    }

    /// Records something that its owner may have intended to be a key, and why it was skipped.
    pub fn skip(&mut self, name: &str, reason: &str) {
        let (name, reason) = (printable(name), SkipReason::Other(reason.to_owned()));
        self.files.push(Found::Skipped(Skipped { name, reason }));
        self.parsed.take();
    }

    /// All keys in the order in which they were added, those of files first. It opens the keys that are
    /// still closed.
    pub fn keys(&self) -> impl Iterator<Item = &NamedKey> + Clone {
        let parsed = self.parsed();
        parsed.open_all();
        parsed.ready()
    }

    /// The entry of the ring for this key.
    pub(crate) fn named(&self, key: &PrivateKey) -> Option<&NamedKey> {
        self.ready().find(|named| std::ptr::eq(named.key(), key))
    }

    /// Lists keys of the ring.
    pub(crate) fn list<'k>(&self, keys: impl IntoIterator<Item = &'k PrivateKey>) -> Listed {
        Listed::new(keys, |key| self.named(key).map_or(String::new(), |key| key.to_string()))
    }

    /// Lists OpenPGP keys of the ring.
    pub(crate) fn list_pgp<'k>(&self, keys: impl IntoIterator<Item = &'k PgpKey>) -> Listed {
        Listed::new(keys, |key| self.named_pgp(key).map_or(String::new(), |key| key.to_string()))
    }

    /// The entry of the ring for this OpenPGP key.
    pub(crate) fn named_pgp(&self, key: &PgpKey) -> Option<&NamedPgpKey> {
        self.pgp_keys().find(|named| std::ptr::eq(named.key(), key))
    }

    /// The keys that are open; it opens none.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &NamedKey> {
        self.parsed().ready()
    }

    /// The keys that have not been opened because opening them has a cost.
    pub(crate) fn closed(&self) -> impl Iterator<Item = Place> {
        self.parsed().closed()
    }

    /// Opens the key at this place. It returns `None` if it is not a key or is the same as another one;
    /// [`KeyRing::skipped`] returns the reason.
    ///
    /// # Errors
    /// Either `budget` is too small, and the key stays closed; or the budget for all keys together is
    /// too small, and the key is passed over.
    pub(crate) fn open(
        &self,
        place: Place,
        budget: &mut Budget,
    ) -> Result<Option<&NamedKey>, Exhausted> {
        self.parsed().open(place, budget)
    }

    /// The certificates of the files and of the payload.
    pub fn certificates(&self) -> &[Certificate] {
        &self.parsed().certificates
    }

    /// The OpenPGP keys in the order in which they are tried. They are not counted among the other keys,
    /// because the two kinds open different wrapped keys.
    pub fn pgp_keys(&self) -> impl Iterator<Item = &NamedPgpKey> + Clone {
        let parsed = self.parsed();
        parsed.pgp_from_files.iter().chain(&parsed.pgp_from_payload)
    }

    /// The number of keys without OpenPGP keys. It opens all keys.
    pub fn len(&self) -> usize {
        self.keys().count()
    }

    /// Whether there are no keys except OpenPGP keys. It opens all keys.
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    /// The number of keys, open or closed, without OpenPGP keys.
    pub fn candidates(&self) -> usize {
        self.parsed().candidates()
    }

    /// What was passed over: of the files first, in their order, then of the payload. It opens all
    /// keys.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.parsed().open_all();
        self.skipped_so_far()
    }

    /// What was passed over so far, without opening keys.
    pub fn skipped_so_far(&self) -> Vec<Skipped> {
        self.parsed().skipped().cloned().collect()
    }

    /// The files in the order in which they were added, each with its password, if there is one.
    /// Password files themselves are not included.
    pub fn files(&self) -> impl Iterator<Item = KeyFile<'_>> {
        let beside = Beside::of(&self.files);
        self.files.iter().filter_map(move |found| beside.key_file(found))
    }

    fn parsed(&self) -> &ParsedRing {
        self.parsed.get_or_init(|| ParsedRing::of(self))
    }
}

/// A list of keys that were tried, with at most eight names. The text contains the number and the
/// names: ``2 keys were tried: RSA-2048 `pod.pem` (SHA256:…), …``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    names: Vec<String>,
    more: usize,
}

impl Listed {
    /// Lists these keys; `name` is called only for the first ones.
    pub(crate) fn new<K>(keys: impl IntoIterator<Item = K>, name: impl Fn(K) -> String) -> Self {
        let mut keys = keys.into_iter();
        let names = keys.by_ref().take(LISTED).map(name).collect();
        Self { names, more: keys.count() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len() + self.more
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> FromIterator<&'a NamedKey> for Listed {
    fn from_iter<I: IntoIterator<Item = &'a NamedKey>>(keys: I) -> Self {
        Self::new(keys, |key| key.to_string())
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.names.join(", ");
        match (self.len(), self.more) {
            (0, _) => f.write_str("no key was tried"),
            (1, _) => write!(f, "1 key was tried: {list}"),
            (count, 0) => write!(f, "{count} keys were tried: {list}"),
            (count, more) => write!(f, "{count} keys were tried: {list} and {more} more"),
        }
    }
}
