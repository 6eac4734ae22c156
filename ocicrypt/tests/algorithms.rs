//! `MinAlgorithms::Modern` on everything that others made: what it opens has no legacy algorithm, and
//! what it refuses is refused by the name of one.

#![allow(clippy::unwrap_used)]

mod common;

use common::{descriptor, json_data, payload, pgp, pkcs7, ring};
use getrandom::SysRng;
use ocicrypt::algorithms::MinAlgorithms;
use ocicrypt::bounds::Bounds;
use ocicrypt::broker::{Broker, NoBroker, Refusal, TokenKey};
use ocicrypt::keyring::KeyRing;
use ocicrypt::payload::Payload;
use ocicrypt::pkcs11::OaepHash;
use ocicrypt::unwrap::{Opened, Outcome, Remedy, UnwrapError, unwrap_within};
use serde_json::json;
use zeroize::Zeroizing;

fn open(
    payload: &Payload,
    ring: &KeyRing,
    broker: &mut dyn Broker,
    algorithms: MinAlgorithms,
) -> Result<Opened, UnwrapError> {
    let mut bounds = Bounds { algorithms, ..Bounds::default() };
    unwrap_within(payload, ring, broker, &mut bounds, &mut SysRng)
}

/// The algorithms of a payload that opens, and the one that `Modern` refuses it for.
fn judged(payload: &Payload, ring: &KeyRing, broker: &mut dyn Broker) -> (String, Option<String>) {
    let opened = open(payload, ring, broker, MinAlgorithms::Legacy).ok().unwrap();
    let names: Vec<_> = opened.algorithms.iter().map(ToString::to_string).collect();
    let legacy: Vec<_> = opened.algorithms.iter().filter(|one| one.is_legacy()).collect();
    match open(payload, ring, broker, MinAlgorithms::Modern) {
        Ok(again) => {
            assert!(legacy.is_empty(), "{names:?}");
            assert_eq!(again.algorithms, opened.algorithms);
            (names.join(", "), None)
        }
        Err(failure) => {
            let error = failure.to_string();
            let is_named = |name: &&String| {
                error.contains(&format!("`{name}` is a legacy algorithm, and only modern ones"))
            };
            let legacy: Vec<_> = legacy.iter().map(ToString::to_string).collect();
            let refused =
                legacy.iter().find(is_named).unwrap_or_else(|| panic!("{error}: {names:?}"));
            let refused = refused.clone();
            let UnwrapError::NoKeyOpened { failures } = failure else { panic!("{error}") };
            let Outcome::Tried { tried, remedy, undecided, .. } = failures[0].outcome else {
                panic!()
            };
            assert!(undecided, "the keys that are there may be the right ones");
            assert_eq!(remedy, Remedy::Algorithms);
            // Refused before the private key was used, but where the cipher comes with the session key.
            assert_eq!(tried, usize::from(["3DES", "CAST5"].contains(&&*refused)), "{error}");
            (names.join(", "), Some(refused))
        }
    }
}

#[test]
fn jwe() {
    let mut refused = 0;
    let cases = json_data("jwe.json");
    let cases = cases["cases"].as_array().unwrap();
    for case in cases {
        let ring = ring(&[&format!("{}.pkcs8.pem", case["key"].as_str().unwrap())]);
        let payload = payload(&descriptor(&[case["jwe"].as_str().unwrap()]));
        let name = case["name"].as_str().unwrap();
        let (algorithms, why) = judged(&payload, &ring, &mut NoBroker);
        let wanted = match name {
            "three recipients rsa-3072" | "foreign kid" => Some("RSA-OAEP with SHA-1"),
            _ if name.starts_with("RSA-OAEP ") => Some("RSA-OAEP with SHA-1"),
            _ if name.contains("rsa-1024") => Some("RSA-1024"),
            _ => None,
        };
        assert_eq!(why.as_deref(), wanted, "{name}: {algorithms}");
        let enc = name.split(' ').nth(1).unwrap_or_default();
        assert!(algorithms.ends_with(enc) || !enc.starts_with('A'), "{name}: {algorithms}");
        refused += usize::from(why.is_some());
    }
    assert!(refused > 10 && refused < cases.len() - 10, "{refused}");
}

#[test]
fn cms() {
    for case in pkcs7::messages().cases {
        let ring = pkcs7::ring(&[&case.key, &pkcs7::certificate(&case.key)]);
        let payload = payload(&pkcs7::descriptor(&[&case.cms]));
        let (algorithms, why) = judged(&payload, &ring, &mut NoBroker);
        let name = &case.name;
        let is_modern_oaep = name.starts_with("OAEP sha") && !name.contains("sha1");
        let wanted = match why.as_deref() {
            None => is_modern_oaep && algorithms.ends_with("GCM"),
            Some("RSA-1024") => name == "rsa-1024",
            Some("RSA-OAEP with SHA-1") => name.starts_with("OAEP") && !is_modern_oaep,
            Some("RSAES-PKCS1-v1_5") => !name.starts_with("OAEP"),
            Some(cipher) => is_modern_oaep && cipher.ends_with("-CBC"),
        };
        assert!(wanted, "{name}: {algorithms}: {why:?}");
    }
}

#[test]
fn openpgp() {
    let mut refused = 0;
    let mut count = 0;
    for program in ["gnupg", "rpgp"] {
        for case in pgp::json(program)["cases"].as_array().unwrap() {
            let file = case["key"].as_str().unwrap();
            let ring = pgp::ring_of(&pgp::key(&format!("{file}.gpg")), Some(b"secret"));
            let payload = payload(&pgp::descriptor(&[pgp::message(&case["message"])]));
            let (algorithms, why) = judged(&payload, &ring, &mut NoBroker);
            assert_eq!(
                why.is_some(),
                algorithms.contains("PKCS1")
                    || algorithms.contains("ElGamal")
                    || algorithms.contains("DES")
                    || algorithms.contains("CAST5")
                    || algorithms.contains("SHA-1"),
                "{algorithms}"
            );
            refused += usize::from(why.is_some());
            count += 1;
        }
    }
    assert!(refused > 10 && refused < count - 10, "{refused} of {count}");
}

/// A token that opens everything.
struct Token;

impl Broker for Token {
    fn token_keys(&mut self) -> Vec<String> {
        vec!["pkcs11:object=key".to_owned()]
    }

    fn token_decrypt(
        &mut self,
        _: TokenKey<'_>,
        _: OaepHash,
        _: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let options = json!({
            "symkey": common::base64(&[0; 32]), "digest": format!("sha256:{}", "5a".repeat(32)),
            "cipheroptions": { "nonce": common::base64(&[0; 16]) },
        });
        Ok(Zeroizing::new(options.to_string().into_bytes()))
    }

    fn provider_unwrap(
        &mut self,
        _: &str,
        _: &[u8],
        _: &[Zeroizing<Vec<u8>>],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        self.token_decrypt(TokenKey::Configured(0), OaepHash::Sha1, b"")
    }
}

/// A token is not asked then; what a key provider does is not known.
#[test]
fn tokens_and_providers() {
    let of = |scheme: &str, item: &str| {
        let mut descriptor = descriptor(&[item]);
        let annotations = descriptor["annotations"].as_object_mut().unwrap();
        let item = annotations.remove("org.opencontainers.image.enc.keys.jwe").unwrap();
        annotations.insert(format!("org.opencontainers.image.enc.keys.{scheme}"), item);
        payload(&descriptor)
    };
    let blob = |bytes: usize, hash: &str| {
        let blob = common::base64(&vec![7; bytes]);
        let json = json!({ "version": 0, "recipients": [{ "blob": blob, "hash": hash }] });
        let payload = of("pkcs11", &json.to_string());
        judged(&payload, &KeyRing::new(), &mut Token).1
    };
    assert_eq!(blob(256, "sha256"), None);
    assert_eq!(blob(256, "sha1").as_deref(), Some("RSA-OAEP with SHA-1"));
    assert_eq!(blob(128, "sha256").as_deref(), Some("RSA-1024"));
    let provider = of("provider.test", "x");
    assert_eq!(judged(&provider, &KeyRing::new(), &mut Token), (String::new(), None));
}
