//! What the benchmarks share: a layer that is encrypted here.

#![forbid(unsafe_code)]

use getrandom::SysRng;
use ocicrypt::layer::{Encryptor, LayerKey};

/// A layer of so many bytes, encrypted, and its key.
pub fn layer(length: usize) -> (Vec<u8>, LayerKey) {
    let mut bytes = vec![0; length];
    let mut encryptor = Encryptor::new(&mut SysRng).expect("the system has random numbers");
    encryptor.update(&mut bytes);
    (bytes, encryptor.finish())
}
