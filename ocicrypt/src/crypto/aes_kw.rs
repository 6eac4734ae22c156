//! AES key wrap (RFC 3394, section 2.2.1), which `jwe` and `pgp` wrap content keys with.

use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use aes_kw::AesKw;

/// Wraps `plain`, a multiple of 8 bytes, with a key of 16, 24 or 32 bytes; what comes out is 8
/// bytes longer. None if either has another length.
pub(crate) fn wrap_aes_key(key: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    match key.len() {
        16 => wrap_with::<Aes128>(key, plain),
        24 => wrap_with::<Aes192>(key, plain),
        32 => wrap_with::<Aes256>(key, plain),
        _ => None,
    }
}

fn wrap_with<C>(key: &[u8], plain: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherEncrypt<BlockSize = U16> + KeyInit,
{
    let mut wrapped = vec![0; plain.len() + 8];
    AesKw::<C>::new_from_slice(key).ok()?.wrap_key(plain, &mut wrapped).ok()?;
    Some(wrapped)
}
