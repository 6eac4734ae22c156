//! The private keys that may be tried, and what was passed over on the way.

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

/// Keys that a ring holds at most. A node has a handful; every one can cost a private-key
/// operation for every wrapped key of a layer.
pub const MAX_KEYS: usize = 1024;

/// What the files of a ring hold together at most, in bytes: 32 MiB. They are kept until all of
/// them are known, because the password of one may be in another.
pub const MAX_FILES: usize = 32 * 1024 * 1024;

/// Certificates that a ring holds at most: several bundles of all public authorities.
pub const MAX_CERTIFICATES: usize = 4096;

/// Keys that a text lists at most.
const LISTED: usize = 8;

/// Private keys in the order in which to try them: those of files first, then those of the
/// payload. Wipes itself when dropped.
///
/// Files come in any order, key before password or after. They are parsed when the keys are asked
/// for the first time. A key that is encrypted, or whose file leaves its primes out, is only opened
/// when it is needed: by [`unwrap`](mod@crate::unwrap) after all others were tried, and by whoever
/// asks for all keys.
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

    /// Adds all keys and certificates that the file `name` with these bytes holds, or, if it is
    /// named after another file and one of [`PASSWORD_SUFFIXES`], the password of that one. What is
    /// neither
    /// is remembered as skipped.
    ///
    /// Go ctd-decoder stops at a file that is not a private key, and at one that is encrypted;
    /// Keycell goes on.
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

    /// Adds all private keys of the payload's parameters, each with the password in its place, and
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
                // A `null` is no key and no mistake.
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

    /// Remembers something that its owner may have thought to be a key, and why it was skipped.
    pub fn skip(&mut self, name: &str, reason: &str) {
        let (name, reason) = (printable(name), SkipReason::Other(reason.to_owned()));
        self.files.push(Found::Skipped(Skipped { name, reason }));
        self.parsed.take();
    }

    /// All keys, in the order in which they were added, those of files first. Those that are still
    /// closed are opened.
    pub fn keys(&self) -> impl Iterator<Item = &NamedKey> + Clone {
        let parsed = self.parsed();
        parsed.open_all();
        parsed.ready()
    }

    /// The key of the ring that this is.
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

    /// The OpenPGP key of the ring that this is.
    pub(crate) fn named_pgp(&self, key: &PgpKey) -> Option<&NamedPgpKey> {
        self.pgp_keys().find(|named| std::ptr::eq(named.key(), key))
    }

    /// The keys that are open, without opening one.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &NamedKey> {
        self.parsed().ready()
    }

    /// The keys that it costs something to open, and that have not been opened.
    pub(crate) fn closed(&self) -> impl Iterator<Item = Place> {
        self.parsed().closed()
    }

    /// Opens the key at this place. `None` if it is none, or the same as another, which
    /// [`KeyRing::skipped`] tells.
    ///
    /// # Errors
    /// There is not enough left of `budget`, and the key stays closed; or of what all keys together
    /// may cost, and it is passed over.
    pub(crate) fn open(
        &self,
        place: Place,
        budget: &mut Budget,
    ) -> Result<Option<&NamedKey>, Exhausted> {
        self.parsed().open(place, budget)
    }

    /// The certificates, those of files and those of the payload.
    pub fn certificates(&self) -> &[Certificate] {
        &self.parsed().certificates
    }

    /// The OpenPGP keys, in the order in which to try them. They open nothing that the other keys
    /// open, and the other way round, so they are not counted among them.
    pub fn pgp_keys(&self) -> impl Iterator<Item = &NamedPgpKey> + Clone {
        let parsed = self.parsed();
        parsed.pgp_from_files.iter().chain(&parsed.pgp_from_payload)
    }

    /// How many keys there are, without OpenPGP keys. Opens all.
    pub fn len(&self) -> usize {
        self.keys().count()
    }

    /// Whether there is none but OpenPGP keys. Opens all.
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    /// How many keys there are, open or closed, without OpenPGP keys.
    pub fn candidates(&self) -> usize {
        self.parsed().candidates()
    }

    /// What was passed over: of the files first, in their order, then of the payload. Opens all.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.parsed().open_all();
        self.skipped_so_far()
    }

    /// What was passed over, as far as the keys have been opened.
    pub fn skipped_so_far(&self) -> Vec<Skipped> {
        self.parsed().skipped().cloned().collect()
    }

    /// The files in the order in which they were added, each with the password that lies beside
    /// it; passwords are none of them.
    pub fn files(&self) -> impl Iterator<Item = KeyFile<'_>> {
        let beside = Beside::of(&self.files);
        self.files.iter().filter_map(move |found| beside.key_file(found))
    }

    fn parsed(&self) -> &ParsedRing {
        self.parsed.get_or_init(|| ParsedRing::of(self))
    }
}

/// Keys that were tried, eight of them at most by name. The text tells how many and which:
/// ``2 keys were tried: RSA-2048 `pod.pem` (SHA256:…), …``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    names: Vec<String>,
    more: usize,
}

impl Listed {
    /// Lists these keys; `name` is asked for the first ones only.
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
