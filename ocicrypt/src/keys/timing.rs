//! What `make timing` marks and runs: ocicrypt/examples/timing.rs. The feature of the same name is only
//! for that.

#![allow(missing_docs)]

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{Material, OaepRefusal, PrivateKey, RsaKey};
use crate::crypto::pkcs1v15;

/// A place in memory: its address and its length in bytes.
pub type Place = (*const u8, usize);

/// The place of a value in memory.
pub fn place<T: ?Sized>(thing: &T) -> Place {
    (std::ptr::from_ref(thing).cast(), size_of_val(thing))
}

/// The places of the secret numbers of a key.
pub fn secrets(key: &PrivateKey) -> Vec<Place> {
    match key.material() {
        Material::Rsa(key) => key.secrets().into_iter().map(place).collect(),
        Material::P256(key) => vec![place(&key.secret)],
        Material::P384(key) => vec![place(&key.secret)],
        Material::P521(key) => vec![place(&key.secret)],
    }
}

pub fn decrypt_raw<R: TryCryptoRng + ?Sized>(
    key: &RsaKey,
    ciphertext: &[u8],
    rng: &mut R,
) -> Result<Zeroizing<Vec<u8>>, OaepRefusal> {
    key.decrypt_raw(ciphertext, rng)
}

pub fn decode_pkcs1v15(encoded: &[u8], instead: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
    pkcs1v15::decode(encoded, Zeroizing::new(instead))
}

/// The public point of an elliptic curve key, as the library computes it: x and then y.
pub fn public_point(key: &PrivateKey) -> Vec<u8> {
    let info = match key.material() {
        Material::Rsa(_) => Vec::new(),
        Material::P256(key) => key.public_key_info(),
        Material::P384(key) => key.public_key_info(),
        Material::P521(key) => key.public_key_info(),
    };
    // The point is at the end, after the byte that says that it is not compressed.
    let size = match key.material() {
        Material::P521(_) => 66,
        Material::P384(_) => 48,
        _ => 32,
    };
    info[info.len() - 2 * size..].to_vec()
}

pub fn agree(key: &PrivateKey, x: &[u8], y: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    key.agree(x, y)
}
