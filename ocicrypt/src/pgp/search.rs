//! The keys of a ring during a search: each is unlocked once, and pays for its operations.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::public::Unlocked;
use super::{PgpError, PgpKey};
use crate::budget::{Budget, cost};

/// The keys, and the unlocked ones among them. One search serves all wrapped keys of a layer.
pub struct Search<'k> {
    keys: Vec<Entry<'k>>,
    last: Option<usize>,
    which: Locked,
    hopeless: BTreeSet<([u8; 32], Locked)>,
}

/// Which keys are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Locked {
    Either,
    No,
    Yes,
}

struct Entry<'k> {
    key: &'k PgpKey,
    unlocked: Option<Result<Rc<Unlocked>, PgpError>>,
    tried: bool,
}

impl<'k> Search<'k> {
    /// Starts a search with `keys`, in their order.
    pub fn new(keys: impl IntoIterator<Item = &'k PgpKey>) -> Self {
        let entry = |key| Entry { key, unlocked: None, tried: false };
        let keys = keys.into_iter().map(entry).collect();
        Self { keys, last: None, which: Locked::Either, hopeless: BTreeSet::new() }
    }

    /// Limits the search from now on to keys that are locked, or to those that are not.
    pub(crate) fn only(&mut self, which: Locked) {
        self.which = which;
    }

    /// Whether the key is included in that limit.
    pub(super) fn is_wanted(&self, index: usize) -> bool {
        match self.which {
            Locked::Either => true,
            Locked::No => !self.key(index).is_locked(),
            Locked::Yes => self.key(index).is_locked(),
        }
    }

    /// The keys that were tried.
    pub fn tried(&self) -> impl Iterator<Item = &'k PgpKey> {
        self.keys.iter().filter(|entry| entry.tried).map(|entry| entry.key)
    }

    /// The key that was tried last. Right after a message was opened, it is the one that opened it.
    pub fn last_tried(&self) -> Option<&'k PgpKey> {
        self.last.map(|index| self.keys[index].key)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, index: usize) -> &'k PgpKey {
        self.keys[index].key
    }

    /// The secret numbers of a key, which is unlocked only once. It pays for one operation with them.
    pub(super) fn unlock(
        &mut self,
        index: usize,
        budget: &mut Budget,
    ) -> Result<Rc<Unlocked>, PgpError> {
        let key = self.keys[index].key;
        if self.keys[index].unlocked.is_none() {
            budget.spend(key.cost_of_unlocking())?;
            self.keys[index].unlocked = Some(key.unlock().map(Rc::new));
        }
        self.keys[index].tried = true;
        self.last = Some(index);
        let unlocked = self.keys[index].unlocked.clone();
        let unlocked = unlocked.unwrap_or(Err(PgpError::NotOpened))?;
        budget.spend(match &*unlocked {
            Unlocked::Rsa(key) => key.cost(),
            Unlocked::ElGamal(_) => key.public.cost_of_power(),
            Unlocked::P256(_) => cost::P256,
            Unlocked::P384(_) => cost::P384,
            Unlocked::P521(_) => cost::P521,
            Unlocked::X25519(_) => cost::X25519,
        })?;
        Ok(unlocked)
    }

    /// Whether every key was already tried on this recipient of this message without success.
    pub(super) fn is_hopeless(&self, id: &[u8; 32]) -> bool {
        self.hopeless.contains(&(*id, self.which))
    }

    pub(super) fn give_up_on(&mut self, id: [u8; 32]) {
        self.hopeless.insert((id, self.which));
    }
}
