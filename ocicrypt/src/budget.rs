//! A bound on the work that hostile input can cause.
//!
//! Every operation whose cost an image or a key file determines is charged before it is done:
//! private-key operations by the sizes of their numbers, key derivation from passwords by its rounds,
//! content by its length and by the speed of its cipher. One [`Budget`] covers all wrapped keys of a
//! layer, of all schemes, and all keys that are opened for it.
//!
//! The crate has no clock: costs are estimates, in nanoseconds of `ctd-decoder`'s sandbox on the
//! machine of `docs/benchmark.md`. Outside of the sandbox, the same work takes a third to a half of
//! that.

/// What the search for the key of one layer may cost: 15 seconds in the sandbox. This is half of what
/// the decoder grants the step, so that a machine half as fast still ends with an error that gives the
/// reason. It allows 40 recipients times 200 keys of RSA-2048, which take 10.4 seconds.
pub const LAYER: u64 = 15_000_000_000;

/// What key derivation from passwords may cost for all keys of a ring together: 15 million rounds of
/// PBKDF2 with HMAC-SHA-256. OpenSSL uses 2048 rounds for a key, and strict recommendations ask for
/// 600,000.
pub(crate) const PASSWORDS: u64 = 15_000_000 * cost::ROUND;

/// What checking the numbers of all keys of a ring may cost. A key with all of its numbers takes a
/// fraction of a millisecond; for some keys, numbers must be computed that are missing from their
/// files.
pub(crate) const KEYS: u64 = 5_000_000_000;

/// What is left of a budget.
#[derive(Debug, Clone)]
pub struct Budget {
    left: u64,
}

/// Less is left than the work would cost. Cheaper work may still be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much work")]
pub struct Exhausted;

impl Default for Budget {
    /// The budget for one layer: [`LAYER`].
    fn default() -> Self {
        Self::new(LAYER)
    }
}

impl Budget {
    /// A budget of this many nanoseconds of the sandbox.
    pub fn new(nanoseconds: u64) -> Self {
        Self { left: nanoseconds }
    }

    /// What is left, in nanoseconds of the sandbox.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Whether at least `cost` is left.
    pub(crate) fn has(&self, cost: u64) -> bool {
        cost <= self.left
    }

    /// Pays for work, before it is done.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub(crate) fn spend(&mut self, cost: u64) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(cost).ok_or(Exhausted)?;
        Ok(())
    }

    /// Pays for work on this many bytes, each of which costs `each`.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub(crate) fn spend_on_bytes(&mut self, bytes: usize, each: u64) -> Result<(), Exhausted> {
        self.spend((bytes as u64).saturating_mul(each))
    }
}

/// Costs in nanoseconds, measured in the sandbox (`make costs`) and rounded up.
pub(crate) mod cost {
    /// An RSA-2048 private-key operation with two primes of equal length: 1.3 ms.
    const RSA_2048: u64 = 1_300_000;

    /// The cost of every attempt in addition to the operation itself: a lookup and a hash of the
    /// wrapped key.
    pub(crate) const ATTEMPT: u64 = 3_000;

    /// Reading a wrapped key of a message.
    pub(crate) const RECIPIENT: u64 = 2_000;

    /// Comparing a wrapped key with one key.
    pub(crate) const COMPARISON: u64 = 20;

    /// A round of PBKDF2 with HMAC-SHA-256, or HMAC-SHA-1.
    pub(crate) const ROUND: u64 = 360;

    /// A private-key operation on an elliptic curve.
    pub(crate) const P256: u64 = 250_000;
    pub(crate) const P384: u64 = 2_000_000;
    pub(crate) const P521: u64 = 2_000_000;
    pub(crate) const X25519: u64 = 250_000;

    /// A byte of content: AES, including the authentication.
    pub(crate) const AES_GCM: u64 = 10;
    pub(crate) const AES_CBC: u64 = 20;
    pub(crate) const AES_CFB: u64 = 20;
    pub(crate) const DES: u64 = 90;
    pub(crate) const TRIPLE_DES: u64 = 250;
    pub(crate) const CAST5: u64 = 60;

    /// A byte that is hashed.
    pub(crate) const HASHED: u64 = 6;

    /// A byte of output of decompression.
    pub(crate) const INFLATED: u64 = 10;

    /// A byte that is read, for instance as JSON.
    pub(crate) const READ: u64 = 20;

    /// Setting up a cipher for a chunk of OpenPGP's authenticated encryption.
    pub(crate) const CHUNK: u64 = 6_000;

    /// A private-key operation with an RSA key of two primes of equal length.
    pub(crate) fn rsa_operation(bits: u32) -> u64 {
        2 * rsa_power(bits.div_ceil(2))
    }

    /// Checking the numbers of an RSA key against each other: the cost grows with the square of the
    /// length.
    pub(crate) fn rsa_check(bits: u32) -> u64 {
        150_000 * (u64::from(bits).pow(2) >> 16) / 64
    }

    /// Computing the coefficient of a key, if it is missing from its file, modulo a prime of this many
    /// bits.
    pub(crate) fn rsa_inverse(bits: u32) -> u64 {
        (3_000_000 * (u64::from(bits).pow(2) >> 10)) >> 10
    }

    /// Finding the primes of a modulus of this many bits.
    pub(crate) fn rsa_factors(bits: u32) -> u64 {
        4 * rsa_operation(bits)
    }

    /// An operation in the library, which first builds the key.
    pub(crate) fn rsa_in_library(bits: u32) -> u64 {
        8 * rsa_operation(bits)
    }

    /// A power in the library, modulo a prime of this many bits.
    pub(crate) fn power_in_library(bits: u32) -> u64 {
        6 * rsa_power(bits)
    }

    /// A power modulo a prime of this many bits: the cost grows with the third power of the length.
    pub(crate) fn rsa_power(bits: u32) -> u64 {
        let kibibits_cubed = u64::from(bits).saturating_pow(3);
        (RSA_2048 / 2).saturating_mul(kibibits_cubed >> 20) >> 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_recipients_and_two_hundred_keys_are_affordable() {
        let operations = LAYER / (cost::rsa_operation(2048) + cost::ATTEMPT);
        assert!(operations > 40 * 200 * 5 / 4);
    }

    #[test]
    fn operations_cost_what_their_length_makes_them_cost() {
        let cost = |bits| cost::rsa_operation(bits);
        assert_eq!(cost(2048), 1_300_000);
        assert_eq!(cost(4096), 8 * cost(2048));
        assert_eq!(cost(8192), 64 * cost(2048));
        assert_eq!(cost(16_384), 512 * cost(2048));
        assert!((3 * cost(2048)..4 * cost(2048)).contains(&cost(3072)));
    }

    #[test]
    fn what_is_too_much_leaves_the_rest() {
        let mut budget = Budget::new(100);
        assert_eq!(budget.spend(99), Ok(()));
        assert_eq!(budget.spend(2), Err(Exhausted));
        assert_eq!(budget.spend_on_bytes(usize::MAX, u64::MAX), Err(Exhausted));
        assert_eq!(budget.spend(1), Ok(()));
        assert_eq!(budget.spend(1), Err(Exhausted));
    }
}
