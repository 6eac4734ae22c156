//! What must not open: every rule of RFC 7516 and of the format, damage of every kind, and more
//! work than a layer is worth.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{base64url, descriptor, from_base64url, json_data, open, payload, ring};
use getrandom::SysRng;
use ocicrypt::jwe::{Jwe, JweError};
use ocicrypt::unwrap::{Outcome, UnwrapError, unwrap};
use serde_json::{Value, json};

const KEY: &str = "p-256.pkcs8.pem";

fn case(name: &str) -> String {
    let jwes = json_data("jwe.json");
    let mut cases = jwes["cases"].as_array().unwrap().iter();
    cases.find(|case| case["name"] == name).unwrap()["jwe"].as_str().unwrap().to_owned()
}

/// A good JWE for [`KEY`] in five parts; its header holds everything.
fn parts() -> [String; 5] {
    let compact = case("ECDH-ES+A256KW A256GCM compact p-256");
    let parts: Vec<_> = compact.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// The same in the flattened serialization, for changes.
fn flattened() -> Value {
    let [protected, encrypted_key, iv, ciphertext, tag] = parts();
    json!({
        "protected": protected, "encrypted_key": encrypted_key, "iv": iv,
        "ciphertext": ciphertext, "tag": tag,
    })
}

/// The same with another protected header: what is refused for its header is refused before any
/// key is tried, so the broken authentication does not hide the reason.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut parts = parts();
    let mut header: Value = serde_json::from_slice(&from_base64url(&parts[0])).unwrap();
    change(&mut header);
    parts[0] = base64url(header.to_string().as_bytes());
    parts.join(".").into_bytes()
}

fn error_of(jwe: &[u8]) -> JweError {
    match open(jwe, &ring(&[KEY])) {
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(jwe)),
        Err(mut errors) => errors.remove(0),
    }
}

fn is_malformed(jwe: &[u8]) -> bool {
    matches!(error_of(jwe), JweError::Malformed(_))
}

#[test]
fn the_base_of_these_tests_is_good() {
    let ring = ring(&[KEY]);
    assert!(open(parts().join(".").as_bytes(), &ring).is_ok());
    assert!(open(flattened().to_string().as_bytes(), &ring).is_ok());
}

#[test]
fn duplicate_members() {
    let json = flattened().to_string();
    let twice = json.replacen('{', r#"{"iv":"AAAA","#, 1);
    assert_eq!(error_of(twice.as_bytes()), JweError::Duplicate("iv".to_owned()));
    let deep = json.replacen('{', r#"{"header":{"a":[{"b":1,"b":2}]},"#, 1);
    assert_eq!(error_of(deep.as_bytes()), JweError::Duplicate("b".to_owned()));
    let mut parts = parts();
    let header = String::from_utf8(from_base64url(&parts[0])).unwrap();
    for (from, to, name) in [("{", r#"{"alg":"dir","#, "alg"), (r#""kty""#, r#""x":"","kty""#, "x")]
    {
        let header = header.replacen(from, to, 1);
        parts[0] = base64url(header.as_bytes());
        assert_eq!(error_of(parts.join(".").as_bytes()), JweError::Duplicate(name.to_owned()));
    }
}

#[test]
fn critical_extensions() {
    let protected = with_header(|header| header["crit"] = json!(["exp"]));
    assert_eq!(error_of(&protected), JweError::Critical);
    for part in ["unprotected", "header"] {
        let mut json = flattened();
        json[part] = json!({ "crit": [] });
        assert_eq!(error_of(json.to_string().as_bytes()), JweError::Critical, "{part}");
    }
}

#[test]
fn other_algorithms_are_refused_by_name() {
    let names = [
        "ECDH-ES",
        "RSA1_5",
        "dir",
        "PBES2-HS256+A128KW",
        "A128KW",
        "A256GCMKW",
        "RSA-OAEP-512",
        "none",
        "rsa-oaep",
    ];
    for name in names {
        let error = error_of(&with_header(|header| header["alg"] = json!(name)));
        assert_eq!(error, JweError::UnsupportedAlgorithm(name.to_owned()));
    }
    // Direct agreement wraps no key, and is named all the same.
    let direct = with_header(|header| header["alg"] = json!("ECDH-ES"));
    let direct = String::from_utf8(direct).unwrap();
    let parts: Vec<_> = direct.split('.').collect();
    let direct = [parts[0], "", parts[2], parts[3], parts[4]].join(".");
    let error = error_of(direct.as_bytes());
    assert_eq!(error, JweError::UnsupportedAlgorithm("ECDH-ES".to_owned()));
    for name in ["A128CBC", "XC20P", "a256gcm"] {
        let error = error_of(&with_header(|header| header["enc"] = json!(name)));
        assert_eq!(error, JweError::UnsupportedEncryption(name.to_owned()));
    }
    let error = error_of(&with_header(|header| header["zip"] = json!("GZ")));
    assert_eq!(error, JweError::UnsupportedCompression("GZ".to_owned()));
    for name in ["alg", "enc", "epk"] {
        assert!(is_malformed(&with_header(|header| header[name] = json!(""))), "{name}");
        assert!(is_malformed(&with_header(|header| header[name] = json!(null))), "{name}");
        assert!(is_malformed(&with_header(|header| header[name] = json!(7))), "{name}");
    }
}

#[test]
fn ephemeral_keys_that_are_none() {
    let zeros = |length| base64url(&vec![0; length]);
    let changes: [(&str, Value); 9] = [
        ("kty", json!("OKP")),
        ("crv", json!("P-384")),
        ("crv", json!("secp256k1")),
        ("x", json!(zeros(31))),
        ("x", json!(zeros(33))),
        ("y", json!(zeros(0))),
        ("y", json!("AA==")),
        ("y", json!(zeros(32))),
        ("x", json!(base64url(&[0xff; 32]))),
    ];
    for (name, value) in changes {
        let jwe = with_header(|header| header["epk"][name] = value.clone());
        assert!(is_malformed(&jwe), "{name} {value}");
    }
    // On another curve, as it says: a fine recipient, but not for this key.
    let jwe = with_header(|header| {
        header["epk"] = json!({ "kty": "EC", "crv": "P-384", "x": zeros(48), "y": zeros(48) });
    });
    assert!(matches!(error_of(&jwe), JweError::NoKeyOfKind(_)));
}

#[test]
fn lengths_of_the_parts() {
    let shorter = |index: usize, length: usize| {
        let mut parts = parts();
        let mut bytes = from_base64url(&parts[index]);
        bytes.resize(length, 0);
        parts[index] = base64url(&bytes);
        parts.join(".").into_bytes()
    };
    for (index, lengths) in
        [(1, &[0, 8, 39, 41, 48][..]), (2, &[0, 11, 13, 16]), (4, &[0, 4, 12, 15, 17])]
    {
        for length in lengths {
            assert!(is_malformed(&shorter(index, *length)), "part {index} of {length} bytes");
        }
    }
    assert_eq!(error_of(&shorter(3, 0)), JweError::Altered);
    let compact = case("ECDH-ES+A256KW A256CBC-HS512 compact p-256");
    let mut cbc: Vec<_> = compact.split('.').map(str::to_owned).collect();
    for length in [0, 1, 15, 17] {
        cbc[3] = base64url(&vec![0; length]);
        assert!(is_malformed(cbc.join(".").as_bytes()), "{length}");
    }
}

#[test]
fn forms_that_are_none() {
    let compact = parts().join(".");
    for jwe in ["", ".", "....", ".....", "{}", "[]", "null", "{", "\u{e9}.b.c.d.e"] {
        assert!(is_malformed(jwe.as_bytes()), "{jwe}");
    }
    assert!(is_malformed(format!("{compact}.").as_bytes()));
    assert!(is_malformed(compact.replacen('.', "=.", 1).as_bytes()));
    assert!(is_malformed(&[b'{'; 100_000]));
    assert!(is_malformed(format!("{{\"recipients\":{}", "[".repeat(100_000)).as_bytes()));
    for (name, value) in [
        ("recipients", json!({})),
        ("recipients", json!([7])),
        ("header", json!([])),
        ("unprotected", json!("")),
        ("aad", json!(1)),
        ("aad", json!("=")),
        ("tag", json!({})),
    ] {
        let mut json = flattened();
        json[name] = value;
        assert!(is_malformed(json.to_string().as_bytes()), "{name}");
    }
}

#[test]
fn what_the_shared_parts_say_first_wins() {
    let ring = ring(&[KEY]);
    let mut json = flattened();
    json["unprotected"] = json!({ "alg": "dir", "enc": "none", "zip": "DEF", "epk": 7 });
    assert!(open(json.to_string().as_bytes(), &ring).is_ok());
    let mut json = flattened();
    json["header"] = json!({ "alg": "dir", "apu": "AAAA" });
    // `apu` is not in the shared parts, so that of the recipient counts.
    assert_eq!(error_of(json.to_string().as_bytes()), JweError::WrongKey);
}

/// Go repeats the wrapped key of the first recipient beside the list.
#[test]
fn the_redundant_wrapped_key_is_ignored() {
    let ring = ring(&[KEY]);
    let mut json = flattened();
    json["recipients"] = json!([{ "encrypted_key": json["encrypted_key"] }]);
    for redundant in ["AAAA", "", "===="] {
        json["encrypted_key"] = json!(redundant);
        assert!(open(json.to_string().as_bytes(), &ring).is_ok(), "{redundant}");
    }
    // A bad recipient does not spoil a good one.
    let good = json["recipients"][0].clone();
    json["recipients"] =
        json!([7, { "header": { "crit": ["b"] } }, { "encrypted_key": "AAAA" }, good]);
    assert!(open(json.to_string().as_bytes(), &ring).is_ok());
    for nothing in [json!([]), json!(null)] {
        let mut json = flattened();
        json["recipients"] = nothing;
        assert!(open(json.to_string().as_bytes(), &ring).is_ok());
    }
}

#[test]
fn every_flipped_bit_and_every_truncation() {
    let ring = ring(&[KEY]);
    let good = parts();
    for index in 0..5 {
        let bytes = from_base64url(&good[index]);
        for position in 0..bytes.len() * 8 {
            let mut parts = good.clone();
            let mut changed = bytes.clone();
            changed[position / 8] ^= 1 << (position % 8);
            parts[index] = base64url(&changed);
            assert!(
                open(parts.join(".").as_bytes(), &ring).is_err(),
                "part {index} bit {position}"
            );
        }
    }
    let whole = good.join(".");
    for length in 0..whole.len() {
        assert!(open(&whole.as_bytes()[..length], &ring).is_err(), "{length}");
    }
    let whole = flattened().to_string();
    for length in 0..whole.len() {
        assert!(open(&whole.as_bytes()[..length], &ring).is_err(), "{length}");
    }
}

#[test]
fn flipped_bits_for_an_rsa_key() {
    let ring = ring(&["rsa-1024.pkcs8.pem"]);
    let compact = case("RSA-OAEP rsa-1024");
    let good: Vec<_> = compact.split('.').map(str::to_owned).collect();
    assert!(open(compact.as_bytes(), &ring).is_ok());
    for index in 0..5 {
        let bytes = from_base64url(&good[index]);
        for position in 0..bytes.len() {
            let mut parts = good.clone();
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            parts[index] = base64url(&changed);
            assert!(
                open(parts.join(".").as_bytes(), &ring).is_err(),
                "part {index} byte {position}"
            );
        }
    }
}

#[test]
fn compression_is_bounded() {
    let jwes = json_data("jwe.json");
    let ring = ring(&[KEY]);
    let large = open(jwes["large"].as_str().unwrap().as_bytes(), &ring).unwrap();
    assert!(large.len() > 200_000);
    assert_eq!(error_of(jwes["bomb"].as_str().unwrap().as_bytes()), JweError::Compression);
}

/// A wrapped key of 128 bytes that looks right until a private-key operation was done.
fn garbage(seed: usize) -> String {
    let compact = case("RSA-OAEP rsa-1024");
    let mut parts: Vec<_> = compact.split('.').collect();
    let mut bytes: Vec<u8> = (0..128).map(|i| (i * i * 3 + seed) as u8).collect();
    bytes[0] = 0x1f; // below every modulus of 1024 bits
    bytes[1..9].copy_from_slice(&seed.to_be_bytes());
    let key = base64url(&bytes);
    parts[1] = &key;
    parts.join(".")
}

#[test]
fn two_thousand_bad_items_before_a_good_one() {
    let started = Instant::now();
    let good = case("RSA-OAEP rsa-1024");
    let mut jwes: Vec<_> = (0..2000).map(garbage).collect();
    jwes.push(good);
    let ring = ring(&["p-384.pkcs8.pem", "rsa-2048.pkcs8.pem", "rsa-1024.pkcs8.pem"]);
    assert!(unwrap(&payload(&descriptor(&jwes)), &ring, &mut SysRng).is_ok());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn the_same_bad_item_costs_once() {
    let bad = garbage(1);
    let ring = ring(&["rsa-1024.pkcs8.pem"]);
    let jwes = vec![bad.as_str(); 30_000];
    let started = Instant::now();
    let Err(UnwrapError::NoKeyOpened { failures }) =
        unwrap(&payload(&descriptor(&jwes)), &ring, &mut SysRng)
    else {
        panic!("opened");
    };
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(failures[0].wrapped, 30_000);
    let Outcome::Tried { tried, of, reasons, .. } = &failures[0].outcome else { panic!() };
    assert_eq!((*tried, *of, reasons.len()), (1, 1, 1));
    assert_eq!((reasons[0].0.to_string().as_str(), reasons[0].1.len()), ("wrong key", 30_000));
}

/// Whoever knows the public key can put a wrapped key of another content before the good one.
#[test]
fn a_wrapped_key_of_something_else_does_not_end_the_search() {
    let jwes = json_data("jwe.json");
    let good = case("ECDH-ES+A256KW p-256");
    let mut other: Vec<_> = good.split('.').collect();
    other[3] = "AAAA";
    let jwes = [jwes["bomb"].as_str().unwrap().to_owned(), other.join("."), good.clone()];
    assert!(unwrap(&payload(&descriptor(&jwes)), &ring(&[KEY]), &mut SysRng).is_ok());
    assert!(Jwe::parse(other.join(".").as_bytes()).is_ok());
    assert_eq!(error_of(other.join(".").as_bytes()), JweError::Altered);
}

/// A header that all share must not be copied for each of very many recipients.
#[test]
fn many_recipients_and_a_long_header() {
    let started = Instant::now();
    for length in [3000, 1_000_000] {
        let mut json = flattened();
        json["unprotected"] = json!({ "apu": "A".repeat(length) });
        json["recipients"] = json!(vec![json!({ "encrypted_key": "AAAA" }); 20_000]);
        assert!(is_malformed(json.to_string().as_bytes()));
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
