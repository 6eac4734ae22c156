//! A JWE, and its decryption with a key of each kind. The plaintext of a message with a tag is
//! out of a mutation's reach: `jwe_content` goes on from there.

#![no_main]

use std::sync::LazyLock;

use keycell_fuzz::{data, open_jwe, ring, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::jwe::Jwe;
use ocicrypt::keyring::KeyRing;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    ring(&[
        ("rsa-2048.pem", data!("keys/rsa-2048.pkcs8.pem")),
        ("p-256.pem", data!("keys/p-256.pkcs8.pem")),
        ("p-384.pem", data!("keys/p-384.pkcs8.pem")),
        ("p-521.pem", data!("keys/p-521.pkcs8.pem")),
    ])
});

fuzz_target!(|bytes: &[u8]| {
    let mut jwe = match Jwe::parse(bytes) {
        Ok(jwe) => jwe,
        Err(error) => return tell(&error),
    };
    jwe.recipients().iter().for_each(tell);
    if let Err(errors) = open_jwe(&mut jwe, &RING) {
        assert!(!errors.is_empty());
        errors.iter().for_each(tell);
    }
});
