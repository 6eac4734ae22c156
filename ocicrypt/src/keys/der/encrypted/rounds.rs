//! What deriving keys from passwords costs, in rounds of PBKDF2 with HMAC-SHA-256.

use super::{NotAKey, Work};
use crate::budget::cost;

/// Rounds that one key may ask for, as many as RFC 8018 (section 4.2) finds appropriate for
/// especially critical keys. OpenSSL writes 2048, careful people 600,000.
const PER_KEY: u64 = 10_000_000;

/// Checks whether one key may ask for this many rounds, which are for `work`.
///
/// # Errors
/// [`NotAKey::TooMuchWork`].
pub(super) fn check(rounds: u64, work: Work) -> Result<(), NotAKey> {
    if rounds > PER_KEY { Err(NotAKey::TooMuchWork(work)) } else { Ok(()) }
}

/// What it costs to take in a password of this length, in rounds.
pub(super) fn of_password(password: &[u8]) -> u64 {
    1 + password.len() as u64 / 64
}

/// What as many rounds cost, as a [`Budget`](crate::budget::Budget) counts.
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
