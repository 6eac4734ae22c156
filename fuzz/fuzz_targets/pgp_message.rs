//! An OpenPGP message, and its decryption. What is inside of one that is protected is out of a
//! mutation's reach: `pgp_content` goes on from there.

#![no_main]

use std::sync::LazyLock;

use keycell_fuzz::{Fixed, data, ring, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::bounds::Bounds;
use ocicrypt::keyring::{KeyRing, NamedPgpKey};
use ocicrypt::pgp::{PgpMessage, Search};

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
    open(bytes);
    if let Some(reframed) = reframed(bytes) {
        open(&reframed);
    }
});

/// The message with the right length for its encrypted data, which a mutation seldom gets right.
fn reframed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (recipient, data) = bytes.split_at_checked(2 + usize::from(*bytes.get(1)?))?;
    let header = match data.get(1)? {
        0..192 => 2,
        192..224 => 3,
        _ => 6,
    };
    let body = data.get(header..)?;
    let length = (body.len() as u32).to_be_bytes();
    Some([recipient, &[data[0] | 0xc0, 0xff], &length, body].concat())
}

fn open(bytes: &[u8]) {
    let message = match PgpMessage::parse(bytes) {
        Ok(message) => message,
        Err(error) => return tell(&error),
    };
    message.recipients().iter().for_each(tell);
    if let Err(errors) =
        message.decrypt(&mut Search::new(RING.pgp_keys().map(NamedPgpKey::key)), &mut Bounds::default(), &mut Fixed(0))
    {
        assert!(!errors.is_empty());
        errors.iter().for_each(tell);
    }
}
