//! A bound on the work that encrypted keys can ask for.

use super::NotAKey;

/// Rounds that one key may ask for, as many as RFC 8018 (section 4.2) finds appropriate for
/// especially critical keys. OpenSSL writes 2048, careful people 600,000.
const PER_KEY: u64 = 10_000_000;

/// Rounds that all keys of a ring may ask for together. The step that opens keys has 30 seconds
/// for everything; inside the sandbox a million rounds take 0.36 seconds on a quiet machine.
const TOGETHER: u64 = 15_000_000;

/// What may still be spent on deriving keys from passwords, in rounds of PBKDF2 with
/// HMAC-SHA-256.
pub(crate) struct Budget {
    left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: TOGETHER }
    }
}

impl Budget {
    /// Whether one key may ask for as many rounds. `what` asks for them, in words.
    pub(super) fn check(rounds: u64, what: impl FnOnce() -> String) -> Result<(), NotAKey> {
        if rounds > PER_KEY { Err(NotAKey::TooMuchWork(what())) } else { Ok(()) }
    }

    /// Pays for as many rounds, before they are computed.
    pub(super) fn spend(&mut self, rounds: u64) -> Result<(), NotAKey> {
        let left = self.left.checked_sub(rounds);
        let together = || NotAKey::TooMuchWork("together with the keys before it".to_owned());
        self.left = left.ok_or_else(together)?;
        Ok(())
    }

    /// What it costs to take in a password of this length, in rounds.
    pub(super) fn of_password(password: &[u8]) -> u64 {
        1 + password.len() as u64 / 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_one_by_one_and_together() {
        let check = |rounds| Budget::check(rounds, || "it".to_owned());
        assert_eq!(check(PER_KEY), Ok(()));
        assert_eq!(check(PER_KEY + 1), Err(NotAKey::TooMuchWork("it".to_owned())));
        let mut budget = Budget::default();
        assert_eq!(budget.spend(TOGETHER - 1), Ok(()));
        assert!(budget.spend(2).is_err());
        // What is too much for one key leaves the rest to the next.
        assert_eq!(budget.spend(1), Ok(()));
        assert!(budget.spend(u64::MAX).is_err());
    }
}
