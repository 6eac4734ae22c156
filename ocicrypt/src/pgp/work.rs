//! The keys of a ring at work, and a bound on what hostile annotations can make them do.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::PgpError;
use super::secret_key::{PgpKind, Unlocked};
use crate::keyring::NamedPgpKey;

/// What one layer may cost in units of an RSA-2048 private-key operation, about 3 ms each.
pub const BUDGET: u64 = 8192;

/// One RSA-2048 operation.
const UNIT: u64 = 64;

/// Bytes that are hashed for a password in the time of a 64th of it: about 47 µs.
const HASHED: u64 = 8192;

/// Bytes that are decrypted with AES and hashed in that time.
const DECRYPTED: u64 = 2048;

/// The keys, what has been unlocked of them, and the work that is left. One serves all wrapped
/// keys of a layer.
pub struct Work<'k> {
    keys: Vec<Entry<'k>>,
    last: Option<usize>,
    left: u64,
    hopeless: BTreeSet<[u8; 32]>,
}

struct Entry<'k> {
    key: &'k NamedPgpKey,
    unlocked: Option<Result<Rc<Unlocked>, PgpError>>,
    tried: bool,
}

impl<'k> Work<'k> {
    /// Puts `keys` to work, in their order.
    pub fn new(keys: impl IntoIterator<Item = &'k NamedPgpKey>) -> Self {
        let entry = |key| Entry { key, unlocked: None, tried: false };
        let keys = keys.into_iter().map(entry).collect();
        Self { keys, last: None, left: BUDGET * UNIT, hopeless: BTreeSet::new() }
    }

    /// The keys that were tried.
    pub fn tried(&self) -> impl Iterator<Item = &'k NamedPgpKey> {
        self.keys.iter().filter(|entry| entry.tried).map(|entry| entry.key)
    }

    /// The key that was tried last: right after a message was opened, the one that opened it.
    pub fn last_tried(&self) -> Option<&'k NamedPgpKey> {
        self.last.map(|index| self.keys[index].key)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, index: usize) -> &'k NamedPgpKey {
        self.keys[index].key
    }

    /// The secret numbers of a key, unlocked once; and pays for one operation with them.
    pub(super) fn unlock(&mut self, index: usize) -> Result<Rc<Unlocked>, PgpError> {
        let key = self.keys[index].key.key();
        if self.keys[index].unlocked.is_none() {
            self.spend(key.work() as u64 / HASHED)?;
            self.keys[index].unlocked = Some(key.unlock().map(Rc::new));
        }
        self.keys[index].tried = true;
        self.last = Some(index);
        let unlocked = self.keys[index].unlocked.clone();
        let unlocked = unlocked.unwrap_or(Err(PgpError::NotOpened))?;
        self.spend(match key.kind() {
            // The time grows with the third power of the length.
            PgpKind::Rsa { bits } => (u64::from(bits).pow(3) >> 33) * UNIT + UNIT / 8,
            PgpKind::Curve25519 | PgpKind::X25519 => UNIT / 8,
            PgpKind::P256 => UNIT / 4,
            PgpKind::P384 => UNIT,
            PgpKind::P521 => UNIT * 2,
        })?;
        Ok(unlocked)
    }

    /// Pays for decrypting so many bytes.
    pub(super) fn spend_on_bytes(&mut self, bytes: usize) -> Result<(), PgpError> {
        self.spend(bytes as u64 / DECRYPTED + 1)
    }

    fn spend(&mut self, cost: u64) -> Result<(), PgpError> {
        self.left = self.left.checked_sub(cost).ok_or(PgpError::TooMuchWork)?;
        Ok(())
    }

    /// Whether every key was tried on this recipient of this message before, in vain.
    pub(super) fn is_hopeless(&self, id: &[u8; 32]) -> bool {
        self.hopeless.contains(id)
    }

    pub(super) fn give_up_on(&mut self, id: [u8; 32]) {
        self.hopeless.insert(id);
    }
}
