//! Random numbers for new keys and nonces.

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

/// The random number generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random numbers for a new key")]
pub struct NoRandomness;

/// Returns `N` random bytes.
pub(crate) fn random<const N: usize, R: TryCryptoRng + ?Sized>(
    rng: &mut R,
) -> Result<Zeroizing<[u8; N]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; N]);
    rng.try_fill_bytes(&mut *bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}
