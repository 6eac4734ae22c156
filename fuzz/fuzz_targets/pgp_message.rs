//! An OpenPGP message, and its decryption. What is inside of one that is protected is out of a
//! mutation's reach: `pgp_content` goes on from there.

#![no_main]

use std::sync::LazyLock;

use keycell_fuzz::{Fixed, data, ring, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::keyring::KeyRing;
use ocicrypt::pgp::{PgpMessage, Work};

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    ring(&[
        ("cv25519.gpg", data!("pgp/keys/cv25519.gpg")),
        ("p-256.gpg", data!("pgp/keys/p-256.gpg")),
        ("p-384.gpg", data!("pgp/keys/rpgp-v6-p-384.gpg")),
        ("x25519.gpg", data!("pgp/keys/rpgp-v4-x25519.gpg")),
        ("x25519-6.gpg", data!("pgp/keys/rpgp-v6-x25519.gpg")),
        ("rsa.gpg", data!("pgp/keys/rsa-2048.gpg")),
    ])
});

fuzz_target!(|bytes: &[u8]| {
    let message = match PgpMessage::parse(bytes) {
        Ok(message) => message,
        Err(error) => return tell(&error),
    };
    message.recipients().iter().for_each(tell);
    if let Err(errors) = message.decrypt(&mut Work::new(RING.pgp_keys()), &mut Fixed(0)) {
        assert!(!errors.is_empty());
        errors.iter().for_each(tell);
    }
});
