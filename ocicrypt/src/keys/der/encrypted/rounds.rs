//! The cost of deriving keys from passwords, in rounds of PBKDF2 with HMAC-SHA-256.

use super::{NotAKey, Work};
use crate::budget::cost;

/// The most rounds for one key: as many as RFC 8018 (section 4.2) considers appropriate for especially
/// critical keys. OpenSSL uses 2048, and strict recommendations ask for 600,000.
const PER_KEY: u64 = 10_000_000;

/// Checks whether one key may ask for this many rounds, which are for `work`.
///
/// # Errors
/// [`NotAKey::TooMuchWork`].
pub(super) fn check(rounds: u64, work: Work) -> Result<(), NotAKey> {
    if rounds > PER_KEY { Err(NotAKey::TooMuchWork(work)) } else { Ok(()) }
}

/// The cost of hashing a password of this length, in rounds.
pub(super) fn of_password(password: &[u8]) -> u64 {
    1 + password.len() as u64 / 64
}

/// The cost of this many rounds, in the unit of [`Budget`](crate::budget::Budget).
pub(super) fn cost(rounds: u64) -> u64 {
    rounds.saturating_mul(cost::ROUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_bounded() {
        let check = |rounds| check(rounds, Work::Pbkdf2(rounds));
        assert_eq!(check(PER_KEY), Ok(()));
        assert_eq!(check(PER_KEY + 1), Err(NotAKey::TooMuchWork(Work::Pbkdf2(PER_KEY + 1))));
        assert_eq!(cost(u64::MAX), u64::MAX);
    }
}
