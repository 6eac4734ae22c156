//! The parsed files and payload: keys, keys that are still closed, and other entries.

use std::sync::{Mutex, OnceLock, PoisonError};

use zeroize::Zeroizing;

use super::files::{Beside, Found, KeyFile, OfPayload, PASSWORD_SUFFIXES, owner};
use super::skipped::SkipReason;
use super::{KeyRing, MAX_CERTIFICATES, MAX_KEYS, NamedKey, NamedPgpKey, Skipped};
use crate::budget::{self, Budget, Exhausted};
use crate::encoding::text::printable;
use crate::keys::{Certificate, ClosedKey, Contents, Item, NotAKey, PrivateKey, Work};
use crate::pgp;

/// The beginning of a PEM block.
const PEM: &[u8] = b"-----BEGIN ";

/// All entries that were found, in order.
pub(super) struct ParsedRing {
    entries: Vec<Entry>,
    /// How many of the entries are keys, open or closed.
    keys: usize,
    pub(super) pgp_from_files: Vec<NamedPgpKey>,
    pub(super) pgp_from_payload: Vec<NamedPgpKey>,
    pub(super) certificates: Vec<Certificate>,
    /// The budget for checking the numbers of keys.
    checking: Mutex<Budget>,
    /// The budget for opening closed keys.
    opening: Mutex<Budget>,
}

enum Entry {
    Key(NamedKey),
    Closed(Closed),
    Skipped(Skipped),
}

/// A key whose opening has a cost, and the result of opening it.
struct Closed {
    source: Source,
    /// The name of its file, as it was given.
    file: String,
    key: ClosedKey,
    opened: OnceLock<Result<NamedKey, Skipped>>,
}

/// The index of a closed key in the entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(usize);

impl ParsedRing {
    pub(super) fn of(ring: &KeyRing) -> Self {
        let mut parsed = Self {
            entries: Vec::new(),
            keys: 0,
            pgp_from_files: Vec::new(),
            pgp_from_payload: Vec::new(),
            certificates: Vec::new(),
            checking: Mutex::new(Budget::new(budget::KEYS)),
            opening: Mutex::new(Budget::new(budget::PASSWORDS)),
        };
        let beside = Beside::of(&ring.files);
        for found in &ring.files {
            if let Found::Skipped(skipped) = found {
                parsed.entries.push(Entry::Skipped(skipped.clone()));
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

    /// The keys that are open.
    pub(super) fn ready(&self) -> impl Iterator<Item = &NamedKey> + Clone {
        self.entries.iter().filter_map(Entry::key)
    }

    /// The keys that are still closed.
    pub(super) fn closed(&self) -> impl Iterator<Item = Place> {
        let is_closed = |entry: &Entry| matches!(entry, Entry::Closed(Closed { opened, .. }) if opened.get().is_none());
        let entries = self.entries.iter().enumerate();
        entries.filter(move |(_, entry)| is_closed(entry)).map(|(place, _)| Place(place))
    }

    /// How many keys there are, as far as it is known before all are opened.
    pub(super) fn candidates(&self) -> usize {
        self.ready().count() + self.closed().count()
    }

    pub(super) fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        self.entries.iter().filter_map(Entry::skipped)
    }

    /// Opens all keys that are still closed, as far as the budget of the ring allows.
    pub(super) fn open_all(&self) {
        for place in self.closed() {
            let _ = self.open(place, &mut Budget::new(u64::MAX)); // never exhausted
        }
    }

    /// Opens the key at `place`, unless it was opened before. It returns `None` if it is not a key that
    /// may be tried.
    ///
    /// # Errors
    /// Either `budget` is too small, and the key stays closed; or the budget for all keys together is
    /// too small, and the key is passed over.
    pub(super) fn open(
        &self,
        place: Place,
        budget: &mut Budget,
    ) -> Result<Option<&NamedKey>, Exhausted> {
        let Some(Entry::Closed(closed)) = self.entries.get(place.0) else { return Ok(None) };
        if let Some(opened) = closed.opened.get() {
            return Ok(opened.as_ref().ok());
        }
        let name = printable(&closed.file);
        let skipped = |reason| Skipped { name: name.clone(), reason };
        let cost = closed.key.cost();
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if !opening.has(cost) {
            let reason = NotAKey::TooMuchWork(Work::Together);
            closed.opened.get_or_init(|| Err(skipped(SkipReason::NotAKey(reason))));
            return Err(Exhausted);
        }
        budget.spend(cost)?;
        let _ = opening.spend(cost); // the comparison above ensured that enough is left
        drop(opening);
        let mut checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        let key = closed.key.open(&mut checking);
        drop(checking);
        let opened = match key {
            Err(reason) => Err(skipped(closed.source.explain(reason, &closed.file))),
            Ok(key) => match self.same(&key) {
                Some(same) => Err(skipped(SkipReason::SameKey(same.to_owned()))),
                None => Ok(NamedKey::new(name, closed.source.own(key))),
            },
        };
        Ok(closed.opened.get_or_init(|| opened).as_ref().ok())
    }

    /// The name of an open key that is equal.
    fn same(&self, key: &PrivateKey) -> Option<&str> {
        self.ready().find(|known| known.key().is_same(key)).map(NamedKey::name)
    }

    fn add(&mut self, source: Source, file: KeyFile<'_>) {
        let Some(found) = pgp::KeyFile::parse(file.bytes, file.password) else {
            return self.add_other(source, file);
        };
        let rest = self.add_pgp(source, &printable(file.name), found);
        // Text around armored blocks is common and not an error, but another key may be there too.
        if rest.windows(PEM.len()).any(|window| window == PEM) {
            self.add_other(source, KeyFile { bytes: &rest, ..file });
        }
    }

    /// Adds the OpenPGP keys of a file, and returns the rest of the file.
    fn add_pgp(&mut self, source: Source, name: &str, file: pgp::KeyFile) -> Zeroizing<Vec<u8>> {
        for reason in file.refused {
            self.skip(name, SkipReason::OpenPgp(reason));
        }
        for key in file.keys {
            let mut known = self.pgp_from_files.iter().chain(&self.pgp_from_payload);
            let same = known.find(|known| known.key().is_same(&key));
            let same = same.map(|known| known.name().to_owned());
            if let Some(same) = same {
                self.skip(name, SkipReason::SameKey(same));
            } else if self.pgp_from_files.len() + self.pgp_from_payload.len() == MAX_KEYS {
                self.skip(name, SkipReason::TooManyKeys);
            } else {
                let key = NamedPgpKey::new(name.to_owned(), key);
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
        let checking = self.checking.get_mut().unwrap_or_else(PoisonError::into_inner);
        for item in Contents::of(file.bytes, file.password, checking).items {
            match item {
                Item::Refused(reason) => self.skip(&name, source.explain(reason, file.name)),
                Item::Certificate(certificate) => self.add_certificate(&name, certificate),
                Item::Open(key) => {
                    if let Some(same) = self.same(&key) {
                        let same = same.to_owned();
                        self.skip(&name, SkipReason::SameKey(same));
                    } else {
                        let key = Entry::Key(NamedKey::new(name.clone(), source.own(key)));
                        self.add_key(&name, key);
                    }
                }
                Item::Closed(key) => {
                    let (file, opened) = (file.name.to_owned(), OnceLock::new());
                    self.add_key(&name, Entry::Closed(Closed { source, file, key, opened }));
                }
            }
        }
    }

    fn add_key(&mut self, name: &str, entry: Entry) {
        if self.keys == MAX_KEYS {
            return self.skip(name, SkipReason::TooManyKeys);
        }
        self.keys += 1;
        self.entries.push(entry);
    }

    fn add_certificate(&mut self, name: &str, certificate: Certificate) {
        match self.certificates.len() {
            MAX_CERTIFICATES.. => self.skip(name, SkipReason::TooManyCertificates),
            _ => self.certificates.push(certificate),
        }
    }

    fn skip(&mut self, name: &str, reason: SkipReason) {
        self.entries.push(Entry::Skipped(Skipped { name: name.to_owned(), reason }));
    }
}

impl Entry {
    fn key(&self) -> Option<&NamedKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Closed(closed) => closed.opened.get()?.as_ref().ok(),
            Self::Skipped(_) => None,
        }
    }

    fn skipped(&self) -> Option<&Skipped> {
        match self {
            Self::Skipped(skipped) => Some(skipped),
            Self::Closed(closed) => closed.opened.get()?.as_ref().err(),
            Self::Key(_) => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    File,
    Payload,
}

impl Source {
    /// Drops the public key that the file states, if the key came with the payload: its fingerprint is
    /// then computed.
    fn own(self, key: PrivateKey) -> PrivateKey {
        match self {
            Self::File => key,
            Self::Payload => key.of_a_stranger(),
        }
    }

    /// Why the file `name` is not used, with the way to use it.
    fn explain(self, reason: NotAKey, name: &str) -> SkipReason {
        match (self, &reason, owner(name)) {
            (Self::File, NotAKey::PasswordNeeded(_), _) => {
                let file = format!("{}{}", printable(name), PASSWORD_SUFFIXES[0]);
                SkipReason::PasswordFileNeeded { reason, file }
            }
            (Self::Payload, NotAKey::PasswordNeeded(_), _) => {
                SkipReason::PayloadPasswordNeeded(reason)
            }
            (Self::File, NotAKey::Unknown | NotAKey::Empty, Some(owner)) => {
                SkipReason::PasswordAlone { key: printable(owner) }
            }
            _ => SkipReason::NotAKey(reason),
        }
    }
}
