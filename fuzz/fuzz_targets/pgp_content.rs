//! The packets inside of an OpenPGP message that decrypts.

#![no_main]

use std::sync::LazyLock;

use aes::Aes256;
use aes::cipher::KeyIvInit;
use base64ct::{Base64, Encoding};
use cfb_mode::BufEncryptor;
use keycell_fuzz::{Fixed, data, ring, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::bounds::Bounds;
use ocicrypt::keyring::{KeyRing, NamedPgpKey};
use ocicrypt::pgp::{PgpMessage, Search};
use sha1::{Digest, Sha1};

/// Of the case `compression none file` in `ocicrypt/tests/data/pgp/gnupg.json`: the packet with the
/// session key, and that key as `gpg --show-session-key` prints it.
const SESSION_PACKET: usize = 96;
const SESSION_KEY: [u8; 32] = [
    0xa4, 0xa3, 0x89, 0xe5, 0x1e, 0x7c, 0x42, 0x49, 0x79, 0xb5, 0x86, 0xed, 0xec, 0xa1, 0x93, 0xdd,
    0xdd, 0x76, 0x07, 0xbe, 0x38, 0x85, 0x12, 0xa9, 0xf1, 0xce, 0x6d, 0x68, 0x72, 0x3a, 0x50, 0xe8,
];

static PACKET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let messages: serde_json::Value =
        serde_json::from_slice(data!("pgp/gnupg.json")).expect("a fixture");
    let mut cases = messages["cases"].as_array().expect("a fixture").iter();
    let case = cases.find(|case| case["name"] == "compression none file").expect("a fixture");
    let message = Base64::decode_vec(case["message"].as_str().expect("a fixture"));
    message.expect("a fixture")[..SESSION_PACKET].to_vec()
});

static RING: LazyLock<KeyRing> =
    LazyLock::new(|| ring(&[("cv25519.gpg", data!("pgp/keys/cv25519.gpg"))]));

fuzz_target!(|bytes: &[u8]| {
    // RFC 9580, section 5.13.1: a random block, its end again, the packets, and their hash.
    let mut plain = vec![7; 18];
    plain.extend_from_slice(bytes);
    plain.extend_from_slice(&[0xd3, 0x14]);
    let hash = Sha1::digest(&plain);
    plain.extend_from_slice(&hash);
    BufEncryptor::<Aes256>::new(&SESSION_KEY.into(), &[0; 16].into()).encrypt(&mut plain);
    let length = (plain.len() as u32 + 1).to_be_bytes();
    let message = [&PACKET[..], &[0xd2, 0xff], &length, &[1], &plain].concat();

    let message = PgpMessage::parse(&message).expect("well-formed");
    match message.decrypt(&mut Search::new(RING.pgp_keys().map(NamedPgpKey::key)), &mut Bounds::default(), &mut Fixed(0)) {
        Ok(opened) => assert!(opened.content.len() <= 250_000.max(bytes.len() * 10)),
        Err(errors) => {
            let unopened = |error: &_| matches!(error, ocicrypt::pgp::PgpError::NotOpened);
            assert!(!errors.iter().any(unopened), "the frame of this target is wrong");
            errors.iter().for_each(tell);
        }
    }
});
