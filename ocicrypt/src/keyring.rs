//! The private keys that may be tried, and what was passed over on the way.

use std::fmt;

use zeroize::Zeroizing;

use crate::key::PrivateKey;
use crate::payload::Parameters;
use crate::pgp::{KeyFile, PgpKey};
use crate::text::printable;

/// Keys that a ring holds at most. A node has a handful; every one can cost a private-key
/// operation for every wrapped key of a layer.
pub const MAX_KEYS: usize = 1024;

/// Keys that a text lists at most.
const LISTED: usize = 8;

/// What a block of PEM begins with.
const PEM: &[u8] = b"-----BEGIN ";

/// Private keys in the order in which to try them: those of files first, then those of the
/// payload. Wipes itself when dropped.
#[derive(Default)]
pub struct KeyRing {
    from_files: Vec<NamedKey>,
    from_payload: Vec<NamedKey>,
    pgp_from_files: Vec<NamedPgpKey>,
    pgp_from_payload: Vec<NamedPgpKey>,
    skipped: Vec<Skipped>,
}

/// A private key and where it came from.
pub struct NamedKey {
    name: String,
    key: PrivateKey,
}

impl NamedKey {
    /// The name of the file, or `privkeys[0]` and so on for keys of the payload; fit to be shown.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// Kind, name and fingerprint, for example ``RSA-2048 `pod.pem` (SHA256:…)``.
impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` ({})", self.key.kind(), self.name, self.key.fingerprint())
    }
}

/// An OpenPGP secret key and where it came from.
pub struct NamedPgpKey {
    name: String,
    key: PgpKey,
}

impl NamedPgpKey {
    /// The name of the file, or `gpg-privatekeys[0]` and so on for keys of the payload; fit to be
    /// shown.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &PgpKey {
        &self.key
    }
}

/// Kind, name and fingerprint, for example ``RSA-3072 `pod.gpg` (OpenPGP 0123…)``.
impl fmt::Display for NamedPgpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` (OpenPGP {})", self.key.kind(), self.name, self.key.fingerprint())
    }
}

/// Something that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name, fit to be shown.
    pub name: String,
    /// Why, as words for a log.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.name, self.reason)
    }
}

impl KeyRing {
    /// A ring without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all keys that the file `name` with these bytes holds. What is no key is remembered
    /// as skipped.
    ///
    /// Go ctd-decoder stops at a file that is not a private key; Keycell goes on.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) {
        self.add(Source::File, &printable(name), bytes, None);
    }

    /// Adds all private keys of the payload's parameters, each with the password in its place.
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
                let password = passwords.next().filter(|password| !password.is_empty());
                let password = password.map(|password| password.as_slice());
                // A `null` is no key and no mistake.
                if !bytes.is_empty() {
                    self.add(Source::Payload, &format!("{name}[{index}]"), bytes, password);
                }
            }
        }
    }

    /// Remembers something that its owner may have thought to be a key, and why it was skipped.
    pub fn skip(&mut self, name: &str, reason: &str) {
        let (name, reason) = (printable(name), reason.to_owned());
        self.skipped.push(Skipped { name, reason });
    }

    /// The keys, in the order in which to try them.
    pub fn keys(&self) -> impl Iterator<Item = &NamedKey> + Clone {
        self.from_files.iter().chain(&self.from_payload)
    }

    /// The OpenPGP keys, in the order in which to try them. They open nothing that the other keys
    /// open, and the other way round, so they are not counted among them.
    pub fn pgp_keys(&self) -> impl Iterator<Item = &NamedPgpKey> + Clone {
        self.pgp_from_files.iter().chain(&self.pgp_from_payload)
    }

    /// How many keys there are, without OpenPGP keys.
    pub fn len(&self) -> usize {
        self.from_files.len() + self.from_payload.len()
    }

    /// Whether there is none but OpenPGP keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was passed over, in the order in which it was found.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    fn add(&mut self, source: Source, name: &str, bytes: &[u8], password: Option<&[u8]>) {
        let Some(file) = KeyFile::parse(bytes, password) else {
            return self.add_other(source, name, bytes, password);
        };
        let rest = self.add_pgp(source, name, file);
        // Words around armored blocks are common, and no mistake; another key may stand there too.
        if rest.windows(PEM.len()).any(|window| window == PEM) {
            self.add_other(source, name, &rest, password);
        }
    }

    /// Adds what a file with OpenPGP keys holds, and returns what else it holds.
    fn add_pgp(&mut self, source: Source, name: &str, file: KeyFile) -> Zeroizing<Vec<u8>> {
        for reason in file.refused {
            self.skip(name, &reason);
        }
        for key in file.keys {
            let same = self.pgp_keys().find(|known| known.key.is_same(&key));
            let same = same.map(|known| known.name.clone());
            if let Some(same) = same {
                self.skip(name, &format!("the same key as `{same}`"));
            } else if self.pgp_from_files.len() + self.pgp_from_payload.len() == MAX_KEYS {
                self.skip(name, &format!("one key more than the {MAX_KEYS} that are tried"));
            } else {
                let key = NamedPgpKey { name: name.to_owned(), key };
                match source {
                    Source::File => self.pgp_from_files.push(key),
                    Source::Payload => self.pgp_from_payload.push(key),
                }
            }
        }
        file.rest
    }

    fn add_other(&mut self, source: Source, name: &str, bytes: &[u8], password: Option<&[u8]>) {
        let parsed = PrivateKey::parse(bytes, password);
        for reason in parsed.refused {
            self.skip(name, &reason.to_string());
        }
        for key in parsed.keys {
            let same = self.keys().find(|known| known.key.is_same(&key));
            let same = same.map(|known| known.name.clone());
            if let Some(same) = same {
                self.skip(name, &format!("the same key as `{same}`"));
            } else if self.len() == MAX_KEYS {
                self.skip(name, &format!("one key more than the {MAX_KEYS} that are tried"));
            } else {
                let key = NamedKey { name: name.to_owned(), key };
                match source {
                    Source::File => self.from_files.push(key),
                    Source::Payload => self.from_payload.push(key),
                }
            }
        }
    }
}

/// How many keys were tried and which: ``2 keys were tried: RSA-2048 `pod.pem` (SHA256:…), …``,
/// eight of them at most by name.
pub fn describe<'a>(keys: impl IntoIterator<Item = &'a NamedKey>) -> String {
    describe_any(keys)
}

/// As [`describe`], for keys of any sort.
pub(crate) fn describe_any<K: fmt::Display>(keys: impl IntoIterator<Item = K>) -> String {
    let mut keys = keys.into_iter();
    let listed: Vec<_> = keys.by_ref().take(LISTED).map(|key| key.to_string()).collect();
    let more = keys.count();
    let list = listed.join(", ");
    match (listed.len(), more) {
        (0, _) => "no key was tried".to_owned(),
        (1, _) => format!("1 key was tried: {list}"),
        (count, 0) => format!("{count} keys were tried: {list}"),
        (count, more) => format!("{} keys were tried: {list} and {more} more", count + more),
    }
}

#[derive(Clone, Copy)]
enum Source {
    File,
    Payload,
}
