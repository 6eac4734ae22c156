//! A bound on the work that hostile annotations can cause.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::JweError;
use crate::key::KeyKind;

/// Private-key operations that one layer may cost, each counted as many times as it takes longer
/// than one of RSA-2048: about half a minute at 3 ms. A layer that was encrypted for thousands of
/// others still opens.
pub const BUDGET: u64 = 8192;

/// One RSA-2048 operation.
const UNIT: u64 = 64;

/// Bytes of content that take as long as one [`UNIT`], at 100 MB/s.
const CONTENT: u64 = 300_000;

/// What has been spent, and what need not be tried again.
pub struct Work {
    left: u64,
    hopeless: BTreeSet<[u8; 32]>,
}

impl Default for Work {
    fn default() -> Self {
        Self { left: BUDGET * UNIT, hopeless: BTreeSet::new() }
    }
}

impl Work {
    /// Pays for one private-key operation.
    pub(crate) fn spend(&mut self, kind: KeyKind) -> Result<(), JweError> {
        let cost = match kind {
            // The time grows with the third power of the length.
            KeyKind::Rsa { bits } => (u64::from(bits).pow(3) >> 33) * UNIT + UNIT / 8,
            KeyKind::P256 => UNIT / 4,
            KeyKind::P384 => UNIT,
            KeyKind::P521 => UNIT * 2,
        };
        self.left = self.left.checked_sub(cost).ok_or(JweError::TooMuchWork)?;
        Ok(())
    }

    /// Pays for the decryption of `length` bytes of content.
    pub(super) fn spend_on_content(&mut self, length: usize) -> Result<(), JweError> {
        let cost = length as u64 * UNIT / CONTENT;
        self.left = self.left.checked_sub(cost).ok_or(JweError::TooMuchWork)?;
        Ok(())
    }

    /// Whether every key was tried on this wrapped key before, in vain.
    pub(super) fn is_hopeless(&self, id: &[u8; 32]) -> bool {
        self.hopeless.contains(id)
    }

    pub(super) fn give_up_on(&mut self, id: [u8; 32]) {
        self.hopeless.insert(id);
    }
}

/// The identity of a wrapped key: the hash of the parts that `feed` is called with, each with its
/// length.
pub(crate) fn id(feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 32] {
    let mut hash = Sha256::new();
    feed(&mut |part| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    });
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(kind: KeyKind) -> u64 {
        let mut work = Work::default();
        let mut count = 0;
        while work.spend(kind).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn the_budget_is_counted_in_time() {
        assert!((7000..=BUDGET).contains(&operations(KeyKind::Rsa { bits: 2048 })));
        assert!((100..=BUDGET / 64).contains(&operations(KeyKind::Rsa { bits: 8192 })));
        assert!(operations(KeyKind::Rsa { bits: 1024 }) > 4 * BUDGET);
        assert_eq!(operations(KeyKind::P256), 4 * BUDGET);
    }

    #[test]
    fn content_is_counted_too() {
        let mut work = Work::default();
        let megabytes = (0..).take_while(|_| work.spend_on_content(1 << 20).is_ok()).count();
        assert!((2000..3000).contains(&megabytes), "{megabytes}");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let id = |parts: &[&[u8]]| super::id(|hash| parts.iter().for_each(|part| hash(part)));
        assert_ne!(id(&[b"ab", b"c"]), id(&[b"a", b"bc"]));
    }
}
