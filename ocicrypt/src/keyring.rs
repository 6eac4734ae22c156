//! The private keys that may be tried, and what was passed over on the way.

mod files;

use std::fmt;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::key::{Budget, NotAKey, PrivateKey};
use crate::payload::Parameters;
use crate::pgp::{self, PgpKey};
use crate::pkcs7::Certificate;
use crate::text::printable;

use files::{Beside, Found, OfPayload, owner};
pub use files::{KeyFile, PASSWORD_SUFFIXES};

/// Keys that a ring holds at most. A node has a handful; every one can cost a private-key
/// operation for every wrapped key of a layer.
pub const MAX_KEYS: usize = 1024;

/// What the files of a ring hold together at most, in bytes: 32 MiB. They are kept until all of
/// them are known, because the password of one may be in another.
pub const MAX_FILES: usize = 32 * 1024 * 1024;

/// Certificates that a ring holds at most: several bundles of all public authorities.
pub const MAX_CERTIFICATES: usize = 4096;

/// What a block of PEM begins with.
const PEM: &[u8] = b"-----BEGIN ";

/// Keys that a text lists at most.
const LISTED: usize = 8;

/// Private keys in the order in which to try them: those of files first, then those of the
/// payload. Wipes itself when dropped.
///
/// Files come in any order, key before password or after. They are parsed, and what is encrypted
/// is opened, when the keys are asked for the first time.
#[derive(Default)]
pub struct KeyRing {
    files: Vec<Found>,
    from_payload: Vec<OfPayload>,
    bytes: usize,
    parsed: OnceLock<ParsedRing>,
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
        let (name, reason) = (printable(name), reason.to_owned());
        self.files.push(Found::Skipped(Skipped { name, reason }));
        self.parsed.take();
    }

    /// The keys, in the order in which to try them.
    pub fn keys(&self) -> impl Iterator<Item = &NamedKey> + Clone {
        let parsed = self.parsed();
        parsed.from_files.iter().chain(&parsed.from_payload)
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

    /// How many keys there are, without OpenPGP keys.
    pub fn len(&self) -> usize {
        self.parsed().len()
    }

    /// Whether there is none but OpenPGP keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was passed over: of the files first, in their order, then of the payload.
    pub fn skipped(&self) -> &[Skipped] {
        &self.parsed().skipped
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

/// What came of the files and of the payload.
#[derive(Default)]
struct ParsedRing {
    from_files: Vec<NamedKey>,
    from_payload: Vec<NamedKey>,
    pgp_from_files: Vec<NamedPgpKey>,
    pgp_from_payload: Vec<NamedPgpKey>,
    certificates: Vec<Certificate>,
    skipped: Vec<Skipped>,
    budget: Budget,
}

impl ParsedRing {
    fn of(ring: &KeyRing) -> Self {
        let mut parsed = Self::default();
        let beside = Beside::of(&ring.files);
        for found in &ring.files {
            if let Found::Skipped(skipped) = found {
                parsed.skipped.push(skipped.clone());
            } else if let Some(file) = beside.key_file(found) {
                parsed.add(Source::File, file);
            }
        }
        for OfPayload { name, bytes, password } in &ring.from_payload {
            let password = password.as_ref().map(|password| password.as_slice());
            parsed.add(Source::Payload, KeyFile { name, bytes, password });
        }
        parsed
    }

    fn add(&mut self, source: Source, file: KeyFile<'_>) {
        let Some(found) = pgp::KeyFile::parse(file.bytes, file.password) else {
            return self.add_other(source, file);
        };
        let rest = self.add_pgp(source, &printable(file.name), found);
        // Words around armored blocks are common, and no mistake; another key may stand there too.
        if rest.windows(PEM.len()).any(|window| window == PEM) {
            self.add_other(source, KeyFile { bytes: &rest, ..file });
        }
    }

    /// Adds what a file with OpenPGP keys holds, and returns what else it holds.
    fn add_pgp(&mut self, source: Source, name: &str, file: pgp::KeyFile) -> Zeroizing<Vec<u8>> {
        for reason in file.refused {
            self.skip(name, reason);
        }
        for key in file.keys {
            let mut known = self.pgp_from_files.iter().chain(&self.pgp_from_payload);
            let same = known.find(|known| known.key.is_same(&key));
            let same = same.map(|known| known.name.clone());
            if let Some(same) = same {
                self.skip(name, format!("the same key as `{same}`"));
            } else if self.pgp_from_files.len() + self.pgp_from_payload.len() == MAX_KEYS {
                self.skip(name, format!("one key more than the {MAX_KEYS} that are tried"));
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

    fn add_other(&mut self, source: Source, file: KeyFile<'_>) {
        let name = printable(file.name);
        let parsed = PrivateKey::parse_within(file.bytes, file.password, &mut self.budget);
        for reason in parsed.refused {
            self.skip(&name, source.explain(&reason, file.name));
        }
        for certificate in parsed.certificates {
            if self.certificates.len() == MAX_CERTIFICATES {
                let reason = format!("more certificates than the {MAX_CERTIFICATES} that are kept");
                self.skip(&name, reason);
                break;
            }
            self.certificates.push(certificate);
        }
        for key in parsed.keys {
            let mut known = self.from_files.iter().chain(&self.from_payload);
            let same = known.find(|known| known.key.is_same(&key));
            let same = same.map(|known| known.name.clone());
            if let Some(same) = same {
                self.skip(&name, format!("the same key as `{same}`"));
            } else if self.len() == MAX_KEYS {
                self.skip(&name, format!("one key more than the {MAX_KEYS} that are tried"));
            } else {
                let name = name.clone();
                match source {
                    Source::File => self.from_files.push(NamedKey { name, key }),
                    Source::Payload => {
                        self.from_payload.push(NamedKey { name, key: key.of_a_stranger() });
                    }
                }
            }
        }
    }

    fn skip(&mut self, name: &str, reason: String) {
        self.skipped.push(Skipped { name: name.to_owned(), reason });
    }

    fn len(&self) -> usize {
        self.from_files.len() + self.from_payload.len()
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

impl Source {
    /// Why the file `name` is no key, and what would mend it.
    fn explain(self, reason: &NotAKey, name: &str) -> String {
        match (self, reason, owner(name)) {
            (Self::File, NotAKey::PasswordNeeded(_), _) => {
                format!("{reason}: put it into `{}{}`", printable(name), PASSWORD_SUFFIXES[0])
            }
            (Self::Payload, NotAKey::PasswordNeeded(_), _) => {
                format!("{reason}: put it into the same place of `privkeys-passwords`")
            }
            (Self::File, NotAKey::Unknown | NotAKey::Empty, Some(owner)) => {
                format!("a password without its key `{}`", printable(owner))
            }
            _ => reason.to_string(),
        }
    }
}
