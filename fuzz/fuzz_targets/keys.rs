//! A private key in PEM, DER or JWK, encrypted with the password `secret` or not.

#![no_main]

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::keys::PrivateKey;

fuzz_target!(|bytes: &[u8]| {
    let parsed = PrivateKey::parse(bytes, Some(b"secret"));
    assert!(parsed.keys.len() + parsed.certificates.len() + parsed.refused.len() > 0);
    parsed.refused.iter().for_each(tell);
    for key in parsed.keys.iter().take(4) {
        tell(&key.kind());
        tell(&key.fingerprint());
        assert!(key.is_same(key));
    }
});
