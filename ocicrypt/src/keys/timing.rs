//! What `make timing` marks and runs: ocicrypt/examples/timing.rs. The feature of the same name is for that alone.

#![allow(missing_docs)]

use rsa::rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{OaepRefusal, PrivateKey, RsaKey, pkcs1v15};

/// A place in memory: its address and its length in bytes.
pub type Place = (*const u8, usize);

/// Where something lies.
pub fn place<T: ?Sized>(thing: &T) -> Place {
    (std::ptr::from_ref(thing).cast(), size_of_val(thing))
}

/// Where the secret numbers of a key lie.
pub fn secrets(key: &PrivateKey) -> Vec<Place> {
    match key {
        PrivateKey::Rsa(key) => key.secrets().into_iter().map(place).collect(),
        PrivateKey::P256(key) => vec![place(&key.secret)],
        PrivateKey::P384(key) => vec![place(&key.secret)],
        PrivateKey::P521(key) => vec![place(&key.secret)],
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

/// The public point of an elliptic curve key, as the library computes it: x and y, one after the other.
pub fn public_point(key: &PrivateKey) -> Vec<u8> {
    let info = match key {
        PrivateKey::Rsa(_) => Vec::new(),
        PrivateKey::P256(key) => key.public_key_info(),
        PrivateKey::P384(key) => key.public_key_info(),
        PrivateKey::P521(key) => key.public_key_info(),
    };
    // The point is the end of it, after the octet that says that it is not compressed.
    let size = match key {
        PrivateKey::P521(_) => 66,
        PrivateKey::P384(_) => 48,
        _ => 32,
    };
    info[info.len() - 2 * size..].to_vec()
}

pub fn agree(key: &PrivateKey, x: &[u8], y: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    match key {
        PrivateKey::Rsa(_) => None,
        PrivateKey::P256(key) => key.agree(x, y),
        PrivateKey::P384(key) => key.agree(x, y),
        PrivateKey::P521(key) => key.agree(x, y),
    }
}
