//! What an RSA operation costs, for keys that are not as they should be too.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Prime, RsaKey};
use crate::budget::cost;

/// What shows only when a key is used: its primes are none, so that the library has to decrypt.
#[derive(Default)]
pub(super) struct Detour {
    is_needed: AtomicBool,
    is_unpaid: AtomicBool,
}

impl Detour {
    /// The library has to decrypt.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn takes_it(&self) {
        if !self.is_needed.swap(true, Ordering::Relaxed) {
            self.is_unpaid.store(true, Ordering::Relaxed);
        }
    }
}

impl RsaKey {
    /// What a private-key operation costs, as far as that is known before the first one.
    pub(crate) fn cost(&self) -> u64 {
        let of_library = self.primes.len() != 2 || self.detour.is_needed.load(Ordering::Relaxed);
        let powers: u64 = self.primes.iter().map(|prime| cost::rsa_power(Prime::bits(prime))).sum();
        powers + if of_library { self.cost_in_library() } else { 0 }
    }

    /// What the first operation cost beyond that, told once.
    pub(crate) fn cost_of_detour(&self) -> u64 {
        let is_due = self.detour.is_unpaid.swap(false, Ordering::Relaxed);
        if is_due { self.cost_in_library() } else { 0 }
    }

    /// The library puts the key together anew for each operation.
    fn cost_in_library(&self) -> u64 {
        cost::rsa_in_library(self.bits())
    }
}
