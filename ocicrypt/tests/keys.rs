//! What is a key, what is none, and that damage is neither accepted nor fatal.

#![allow(clippy::unwrap_used)]

mod common;

use common::{key_file, ring};
use getrandom::SysRng;
use ocicrypt::hazmat;
use ocicrypt::keyring::{KeyRing, Listed};
use ocicrypt::keys::{Foreign, KeyKind, NotAKey, OaepHash, PrivateKey};
use ocicrypt::payload::Payload;
use serde_json::json;

fn refusal(bytes: &[u8]) -> NotAKey {
    let mut parsed = PrivateKey::parse(bytes, None);
    assert!(parsed.keys.is_empty(), "a key was found");
    parsed.refused.remove(0)
}

#[test]
fn what_is_no_key_says_what_it_is() {
    let cases = [
        ("public.pem", NotAKey::PublicKey),
        ("public.der", NotAKey::PublicKey),
        ("public.pkcs1.der", NotAKey::PublicKey),
        ("public.jwk", NotAKey::PublicKey),
        ("container.p12", NotAKey::Pkcs12),
        ("encrypted.pkcs8.pem", NotAKey::PasswordNeeded("PKCS#8")),
        ("encrypted.pkcs8.der", NotAKey::PasswordNeeded("PKCS#8")),
        ("encrypted.dek-info.pem", NotAKey::PasswordNeeded("PEM with DEK-Info")),
        ("rsa-pss.pkcs8.pem", NotAKey::OtherKind("RSASSA-PSS".to_owned())),
        ("ed25519.pkcs8.pem", NotAKey::OtherKind("Ed25519".to_owned())),
        ("x25519.pkcs8.pem", NotAKey::OtherKind("X25519".to_owned())),
        ("secp256k1.pkcs8.pem", NotAKey::OtherCurve),
        ("rsa-512.pkcs8.pem", NotAKey::RsaSize(512)),
    ];
    for (name, reason) in cases {
        assert_eq!(refusal(&key_file(name)), reason, "{name}");
    }
    for (text, reason) in [
        ("", NotAKey::Empty),
        (" \n", NotAKey::Empty),
        ("password", NotAKey::Unknown),
        ("0x30", NotAKey::Unknown),
        ("\0\u{1}", NotAKey::Unknown),
        ("{}", NotAKey::Foreign(Foreign::Json)),
        (r#"{"data":{"private_key":"secret"}}"#, NotAKey::Foreign(Foreign::Json)),
        ("{", NotAKey::Malformed("JWK")),
        (r#"{"keys":[]}"#, NotAKey::Empty),
        (r#"{"kty":"oct","k":"AAAA"}"#, NotAKey::OtherKind("a symmetric JWK".to_owned())),
        (r#"{"kty":"EC","crv":"P-256","d":"AA"}"#, NotAKey::Inconsistent),
        (r#"{"kty":"EC","crv":"P-256","d":"="}"#, NotAKey::Malformed("JWK")),
        (r#"{"kty":"EC","crv":"P-224","d":"AQ"}"#, NotAKey::OtherCurve),
        (r#"{"kty":"OKP","crv":"X25519","d":"AQ"}"#, NotAKey::OtherKind("X25519".to_owned())),
        ("-----BEGIN PRIVATE KEY-----\n", NotAKey::Malformed("PEM")),
        ("-----BEGIN PRIVATE KEY-----\n%\n-----END PRIVATE KEY-----", NotAKey::Malformed("PEM")),
        ("-----BEGIN A-----\n-----END B-----", NotAKey::Malformed("PEM")),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n=AAAA\n-----END PGP PRIVATE KEY BLOCK-----",
            NotAKey::Malformed("PEM"),
        ),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
            NotAKey::Malformed("OpenSSH"),
        ),
    ] {
        assert_eq!(refusal(text.as_bytes()), reason, "{text:?}");
    }
}

#[test]
fn several_keys_in_one_file() {
    let kinds = |name| {
        let parsed = PrivateKey::parse(&key_file(name), None);
        let kinds: Vec<_> = parsed.keys.iter().map(|key| key.kind().to_string()).collect();
        (kinds, parsed.refused)
    };
    let ed25519 = NotAKey::OtherKind("Ed25519".to_owned());
    let (keys, refused) = kinds("several.pem");
    assert_eq!(keys, ["RSA-2048", "P-384"]);
    assert_eq!(refused, [ed25519.clone(), NotAKey::Malformed("DER")]);
    let (keys, refused) = kinds("set.jwks");
    assert_eq!(keys, ["RSA-2048", "P-256"]);
    let symmetric = NotAKey::OtherKind("a symmetric JWK".to_owned());
    assert_eq!(refused, [ed25519, symmetric, NotAKey::NoJwk]);
}

#[test]
fn a_block_that_is_cut_off_does_not_spoil_the_next() {
    let (good, other) = (key_file("p-256.pkcs8.pem"), key_file("rsa-2048.pkcs1.pem"));
    for length in [1, 28, 60, good.len() - 30, good.len() - 2] {
        for next in [&good, &other] {
            let parsed =
                PrivateKey::parse(&[&good[..length], b"\n", &next[..], &good].concat(), None);
            assert_eq!(parsed.keys.len(), 2, "{length}");
            let malformed = vec![NotAKey::Malformed("PEM"); usize::from(length > 1)];
            assert_eq!(parsed.refused, malformed, "{length}");
        }
    }
}

/// To compute the public half takes as long as to use the key, so what the file states names it.
#[test]
fn an_elliptic_curve_key_is_named_by_the_public_key_that_its_file_states() {
    let file = key_file("p-256.sec1.der");
    let with = |point: &[u8]| {
        let mut file = file.clone();
        let at = file.len() - point.len();
        file[at..].copy_from_slice(point);
        PrivateKey::parse(&file, None).keys.remove(0)
    };
    let (own, computed) = (file[file.len() - 65..].to_vec(), key_file("p-256.jwk"));
    let computed = PrivateKey::parse(&computed, None).keys.remove(0);
    assert_eq!(with(&own).fingerprint(), computed.fingerprint());

    // The curve's generator (SP 800-186, section 3.2.1.3): a point of it, but of another key.
    let generator = common::from_base64url(
        "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    );
    assert_ne!(with(&generator).fingerprint(), computed.fingerprint());
    assert!(with(&generator).is_same(&computed));

    // A client's key gets no other key's name into the log.
    let mut forged = file.clone();
    let at = forged.len() - generator.len();
    forged[at..].copy_from_slice(&generator);
    let parameters = json!({ "privkeys": [common::base64(&forged)] });
    let config = json!({ "DecryptConfig": { "Parameters": parameters }, "Descriptor": common::descriptor(&[b""]) });
    let mut ring = KeyRing::new();
    ring.add_parameters(&Payload::parse(&common::any(&config)).unwrap().parameters);
    let of_payload: Vec<_> = ring.keys().map(|key| key.key().fingerprint()).collect();
    assert_eq!(of_payload, [computed.fingerprint()]);

    // No point at all is passed over, as Go passes over every one.
    let mut off = generator.clone();
    *off.last_mut().unwrap() ^= 1;
    assert_eq!(with(&off).fingerprint(), computed.fingerprint());
}

#[test]
fn a_modulus_that_is_too_long_is_refused_by_its_size() {
    let long = common::base64url(&[0xff; 2049]);
    let jwk = json!({ "kty": "RSA", "n": long, "e": "AQAB", "d": long, "p": "Aw", "q": "BQ" });
    assert_eq!(refusal(jwk.to_string().as_bytes()), NotAKey::RsaSize(16_392));
}

#[test]
fn rsa_numbers_that_do_not_fit() {
    let good: serde_json::Value = serde_json::from_slice(&key_file("rsa-2048.jwk")).unwrap();
    let base64url = common::base64url;
    let (n, p) = (good["n"].as_str().unwrap(), good["p"].as_str().unwrap());
    let even = {
        let mut bytes = common::from_base64url(n);
        *bytes.last_mut().unwrap() &= 0xfe;
        base64url(&bytes)
    };
    let mut changes =
        vec![("n", even), ("q", p.to_owned()), ("p", base64url(&[1])), ("q", n.to_owned())];
    for name in ["e", "d", "p", "q"] {
        for bytes in [&[0][..], &[1], &[2], &[3], &[0xff; 256], &[0xff; 5000]] {
            changes.push((name, base64url(bytes)));
        }
    }
    for (name, value) in changes {
        let mut jwk = good.clone();
        jwk[name] = json!(value);
        assert_eq!(refusal(jwk.to_string().as_bytes()), NotAKey::Inconsistent, "{name} {value}");
        // Without primes they are computed, from numbers that may be anything.
        for name in ["p", "q"] {
            jwk.as_object_mut().unwrap().remove(name);
        }
        if name == "e" || name == "d" || name == "n" {
            assert_eq!(
                refusal(jwk.to_string().as_bytes()),
                NotAKey::Inconsistent,
                "{name} {value}"
            );
        }
    }
}

/// What a file has for the remainder theorem is not taken for granted.
#[test]
fn a_wrong_coefficient_in_a_file_makes_no_other_key() {
    let file = key_file("rsa-2048.pkcs1.der");
    let good: serde_json::Value = serde_json::from_slice(&key_file("rsa-2048.jwk")).unwrap();
    let [n, e] = ["n", "e"].map(|name| common::from_base64url(good[name].as_str().unwrap()));
    let [n, e] = [n, e].map(|number| rsa::BoxedUint::from_be_slice_vartime(&number));
    let public = rsa::PublicKey::new(n, e).unwrap();
    let encrypted =
        public.encrypt(&mut SysRng, rsa::Oaep::<sha2::Sha256>::new(), &[0x42; 32]).unwrap();
    let opened = |file: &[u8]| {
        let key = PrivateKey::parse(file, None).keys.remove(0);
        let (rsa, hash) = (key.as_rsa().unwrap(), OaepHash::Sha256);
        (key.fingerprint(), hazmat::decrypt_oaep(rsa, hash, hash, &encrypted, &mut SysRng).unwrap())
    };
    let expected = opened(&file);
    assert_eq!(*expected.1, [0x42; 32]);
    let qi = common::from_base64url(good["qi"].as_str().unwrap());
    let at = file.windows(qi.len()).rposition(|bytes| bytes == qi).unwrap();
    for position in [at, at + qi.len() / 2, at + qi.len() - 1] {
        let mut changed = file.clone();
        changed[position] ^= 1;
        assert!(opened(&changed) == expected, "{position}");
    }
    for value in [json!(""), json!("AA"), json!("AQ"), json!("="), json!(1), good["n"].clone()] {
        for name in ["dp", "dq", "qi"] {
            let mut changed = good.clone();
            changed[name] = value.clone();
            assert!(opened(changed.to_string().as_bytes()) == expected, "{name} {value}");
        }
    }
}

/// Damage that goes unnoticed (it is in a part that is not used) must do no harm either.
fn exercise(bytes: &[u8]) {
    for key in PrivateKey::parse(bytes, None).keys {
        let _ = key.fingerprint();
        match (key.as_rsa(), key.kind()) {
            (Some(key), _) => {
                let (ciphertext, hash) = (vec![1; key.size()], OaepHash::Sha1);
                let _ = hazmat::decrypt_oaep(key, hash, hash, &ciphertext, &mut SysRng);
            }
            (None, KeyKind::P256) => drop(hazmat::agree(&key, &[1; 32], &[1; 32])),
            (None, KeyKind::P384) => drop(hazmat::agree(&key, &[1; 48], &[1; 48])),
            (None, _) => drop(hazmat::agree(&key, &[1; 66], &[1; 66])),
        }
    }
}

#[test]
fn every_byte_of_a_key_changed() {
    for name in
        ["p-256.pkcs8.der", "p-256.sec1.der", "p-384.no-public.pkcs8.der", "ed25519.pkcs8.pem"]
    {
        let good = key_file(name);
        for position in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, good[position] ^ 1, good[position] ^ 0x20] {
                let mut changed = good.clone();
                changed[position] = value;
                exercise(&changed);
            }
            exercise(&good[..position]);
        }
    }
    for name in ["rsa-2048.pkcs8.der", "rsa-2048.pkcs1.der", "rsa-2048.no-primes.jwk"] {
        let good = key_file(name);
        for position in 0..good.len() {
            let mut changed = good.clone();
            changed[position] ^= 1 << (position % 7);
            exercise(&changed);
            assert!(PrivateKey::parse(&good[..position], None).keys.is_empty());
        }
    }
}

#[test]
fn a_ring_keeps_the_order_and_the_reasons() {
    let mut ring = ring(&["public.pem", "several.pem", "rsa-2048.jwk"]);
    let value = json!({ "DecryptConfig": { "Parameters": {
        "privkeys": [common::base64(&key_file("p-256.pkcs8.der")), null, common::base64(b"?")],
        "privkeys-passwords": [null],
    } } });
    ring.add_parameters(&Payload::parse(&common::any(&value)).unwrap().parameters);
    ring.add_file("p-521", &key_file("p-521.jwk"));
    let names: Vec<_> = ring.keys().map(|key| key.name().to_owned()).collect();
    assert_eq!(names, ["several.pem", "several.pem", "p-521", "privkeys[0]"]);
    let skipped: Vec<_> = ring.skipped().iter().map(ToString::to_string).collect();
    let wanted = [
        "`public.pem`: a public key, not a private one",
        "`several.pem`: a key of a kind that opens no layer (Ed25519)",
        "`several.pem`: a damaged key (DER)",
        "`rsa-2048.jwk`: the same key as `several.pem`",
        "`privkeys[2]`: not a key in PEM, DER, JWK or OpenPGP form",
    ];
    assert_eq!(skipped, wanted);
}

#[test]
fn a_list_of_keys_is_bounded() {
    assert_eq!(Listed::from_iter([]).to_string(), "no key was tried");
    let ring = ring(&["rsa-2048.pkcs8.pem"]);
    let fingerprint = common::json_data("keys/fingerprints.json")["rsa-2048"].clone();
    let named = format!("RSA-2048 `rsa-2048.pkcs8.pem` ({})", fingerprint.as_str().unwrap());
    assert_eq!(Listed::from_iter(ring.keys()).to_string(), format!("1 key was tried: {named}"));
    let many = Listed::from_iter(ring.keys().cycle().take(20)).to_string();
    assert!(many.starts_with("20 keys were tried: ") && many.ends_with(" and 12 more"));
    assert_eq!(many.matches(&named).count(), 8);
    assert!(KeyRing::new().is_empty());
}
