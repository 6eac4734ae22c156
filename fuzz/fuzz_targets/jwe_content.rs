//! The content of a JWE, compressed or not, inside a message that decrypts.

#![no_main]

use std::sync::LazyLock;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use base64ct::{Base64UrlUnpadded, Encoding};
use keycell_fuzz::{data, open_jwe, ring, tell};
use libfuzzer_sys::fuzz_target;
use ocicrypt::jwe::Jwe;
use ocicrypt::keyring::KeyRing;
use ocicrypt::options::PrivateOptions;

/// Of the case `ECDH-ES+A256KW A256GCM compact p-256` in `ocicrypt/tests/data/jwe.json`: the
/// header, the wrapped content key, and that key as `jwcrypto` prints it.
const HEADER: &str = concat!(
    r#""alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{"crv":"P-256","kty":"EC","#,
    r#""x":"JF0Uh7XC5B8My1AA2_t9VrmmV_y7ZKb10HhLpIl1oFU","#,
    r#""y":"MPINN2DNkmCGOJ7pZhR7aRcpbBKbC5VK5-Lwawycgj4"}"#,
);
const WRAPPED: &str = "cdfkykW22_bHTuc7ZzV9R0KqDAA6n7UJtuL3HhGA0ul72Uci-bVucg";
const KEY: [u8; 32] = [
    0xb6, 0x0c, 0x62, 0x73, 0xdd, 0x58, 0x1d, 0x8e, 0xe4, 0x8e, 0xa6, 0xeb, 0xd6, 0x78, 0xde, 0x42,
    0x68, 0x1b, 0x1f, 0x09, 0xb2, 0xb2, 0x24, 0x03, 0x34, 0x98, 0x9a, 0x6f, 0xe2, 0xd8, 0x3a, 0x60,
];

static RING: LazyLock<KeyRing> =
    LazyLock::new(|| ring(&[("p-256.pem", data!("keys/p-256.pkcs8.pem"))]));

fuzz_target!(|bytes: &[u8]| {
    let Some((compressed, content)) = bytes.split_first() else { return };
    let compressed = compressed % 2 == 1;
    let zip = if compressed { r#","zip":"DEF""# } else { "" };
    let protected = encode(format!("{{{HEADER}{zip}}}").as_bytes());
    let aad = protected.as_bytes();
    let sealed =
        Aes256Gcm::new(&KEY.into()).encrypt(&[0; 12].into(), Payload { msg: content, aad });
    let sealed = sealed.expect("the content is short");
    let (text, tag) = sealed.split_at(sealed.len() - 16);
    let jwe = [&protected, WRAPPED, &encode(&[0; 12]), &encode(text), &encode(tag)].join(".");

    let mut jwe = Jwe::parse(jwe.as_bytes()).expect("well-formed");
    match open_jwe(&mut jwe, &RING) {
        Ok(plain) => {
            assert!(compressed || *plain == content);
            assert!(plain.len() <= 250_000.max(content.len() * 10));
            _ = PrivateOptions::parse(&plain).map_err(|error| tell(&error));
        }
        Err(errors) => {
            assert!(compressed);
            errors.iter().for_each(tell);
        }
    }
});

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}
