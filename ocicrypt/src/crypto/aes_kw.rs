//! AES key wrap (RFC 3394), which JWE and OpenPGP wrap content keys with.

#[cfg(feature = "encrypt")]
use aes::cipher::BlockCipherEncrypt;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use aes_kw::AesKw;
use zeroize::Zeroizing;

/// AES key unwrap (RFC 3394, section 2.2.2). The wrapping key has 16, 24 or 32 bytes; the wrapped key
/// is 8 bytes longer than the result. None if it was not wrapped with this key.
pub fn unwrap_aes_key(key: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    match key.len() {
        16 => unwrap_with::<Aes128>(key, wrapped),
        24 => unwrap_with::<Aes192>(key, wrapped),
        32 => unwrap_with::<Aes256>(key, wrapped),
        _ => None,
    }
}

fn unwrap_with<C>(key: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>>
where
    C: BlockCipherDecrypt<BlockSize = U16> + KeyInit,
{
    // Fewer than two blocks cannot be wrapped.
    let length = wrapped.len().checked_sub(8).filter(|length| *length >= 16)?;
    let mut unwrapped = Zeroizing::new(vec![0; length]);
    AesKw::<C>::new_from_slice(key).ok()?.unwrap_key(wrapped, &mut unwrapped).ok()?;
    Some(unwrapped)
}

/// Wraps `plain`, a multiple of 8 bytes, with a key of 16, 24 or 32 bytes; the result is 8 bytes
/// longer. None if either has another length.
#[cfg(feature = "encrypt")]
pub(crate) fn wrap_aes_key(key: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    match key.len() {
        16 => wrap_with::<Aes128>(key, plain),
        24 => wrap_with::<Aes192>(key, plain),
        32 => wrap_with::<Aes256>(key, plain),
        _ => None,
    }
}

#[cfg(feature = "encrypt")]
fn wrap_with<C>(key: &[u8], plain: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherEncrypt<BlockSize = U16> + KeyInit,
{
    let mut wrapped = vec![0; plain.len() + 8];
    AesKw::<C>::new_from_slice(key).ok()?.wrap_key(plain, &mut wrapped).ok()?;
    Some(wrapped)
}
