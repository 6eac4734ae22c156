//! What others made: openssl's keys, jwcrypto's JWEs and layers that the Go implementation
//! encrypted, a named case each. `tests/data/README.md` says how they were made.

#![allow(clippy::unwrap_used)]

mod common;

use common::{descriptor, json_data, key_file, open, payload, ring};
use getrandom::SysRng;
use libtest_mimic::{Arguments, Failed, Trial};
use ocicrypt::keys::PrivateKey;
use ocicrypt::unwrap::unwrap;

/// Every form of a key that is committed, by the name of the key.
const FORMS: [(&str, &[&str]); 4] = [
    (
        "rsa-2048",
        &["pkcs8.pem", "pkcs8.der", "pkcs1.pem", "pkcs1.der", "jwk", "no-crt.jwk", "no-primes.jwk"],
    ),
    ("p-256", EC_FORMS),
    ("p-384", EC_FORMS),
    ("p-521", EC_FORMS),
];

const EC_FORMS: &[&str] = &[
    "pkcs8.pem",
    "pkcs8.der",
    "sec1.pem",
    "sec1-params.pem",
    "sec1.der",
    "no-public.pkcs8.der",
    "jwk",
];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    jwe_trials(&mut trials);
    key_trials(&mut trials);
    layer_trials(&mut trials);
    libtest_mimic::run(&arguments, trials).exit();
}

/// Every algorithm, encryption and serialization.
fn jwe_trials(trials: &mut Vec<Trial>) {
    let jwes = json_data("jwe.json");
    let plaintext = jwes["plaintext"].as_str().unwrap().to_owned();
    for case in jwes["cases"].as_array().unwrap() {
        let (case, plaintext) = (case.clone(), plaintext.clone());
        let name = format!("jwe: {}", case["name"].as_str().unwrap());
        trials.push(Trial::test(name, move || {
            let ring = ring(&[&format!("{}.pkcs8.pem", case["key"].as_str().unwrap())]);
            let jwe = case["jwe"].as_str().unwrap().as_bytes();
            if open(jwe, &ring).map_err(|errors| format!("{errors:?}"))? != plaintext.as_bytes() {
                return Err("another plaintext came out".into());
            }
            // The same again from the payload to the layer key.
            let key = unwrap(&payload(&descriptor(&[jwe])), &ring, &mut SysRng)?;
            let nonce: Vec<u8> = (100..116).collect();
            let digest = format!("sha256:{}", "5a".repeat(32));
            let right = key.key()[..] == (0..32).collect::<Vec<u8>>()[..]
                && key.nonce()[..] == nonce[..]
                && key.hmac() == &[7; 32]
                && key.digest() == Some(digest);
            right.then_some(()).ok_or_else(|| Failed::from("another layer key came out"))
        }));
    }
}

/// Every form of a key: its kind, its fingerprint, and that it opens what was made for it.
fn key_trials(trials: &mut Vec<Trial>) {
    let fingerprints = json_data("keys/fingerprints.json");
    let mut add = |key: &'static str, form: &'static str, kind: &'static str| {
        let fingerprint = fingerprints[key].as_str().unwrap().to_owned();
        trials.push(Trial::test(format!("key: {key}.{form}"), move || {
            let parsed = PrivateKey::parse(&key_file(&format!("{key}.{form}")), None);
            let [found] = &parsed.keys[..] else {
                return Err(format!("no key: {:?}", parsed.refused).into());
            };
            assert_eq!(parsed.refused, []);
            assert_eq!(found.kind().to_string(), kind);
            assert_eq!(found.fingerprint().to_string(), fingerprint);
            opens(key, form)
        }));
    };
    for (key, forms) in FORMS {
        let kind = match key {
            "rsa-2048" => "RSA-2048",
            "p-256" => "P-256",
            "p-384" => "P-384",
            _ => "P-521",
        };
        forms.iter().for_each(|form| add(key, form, kind));
    }
    for (key, kind) in [
        ("rsa-1024", "RSA-1024"),
        ("rsa-2056", "RSA-2056"),
        ("rsa-3072", "RSA-3072"),
        ("rsa-4096", "RSA-4096"),
        ("rsa-8192", "RSA-8192"),
        ("rsa-16384", "RSA-16384"),
        ("rsa-e3", "RSA-2048"),
    ] {
        add(key, "pkcs8.pem", kind);
    }
    for form in ["pkcs8.pem", "pkcs1.pem", "pkcs1.der"] {
        add("rsa-three-primes", form, "RSA-2048");
    }
}

/// Opens the first JWE that was made for the key `key`.
fn opens(key: &str, form: &str) -> Result<(), Failed> {
    let jwes = json_data("jwe.json");
    let mut cases = jwes["cases"].as_array().unwrap().iter();
    let case = cases.find(|case| case["key"] == key).ok_or("no JWE was made for this key")?;
    let ring = ring(&[&format!("{key}.{form}")]);
    let plaintext = open(case["jwe"].as_str().unwrap().as_bytes(), &ring);
    let plaintext = plaintext.map_err(|errors| format!("{errors:?}"))?;
    assert_eq!(plaintext, jwes["plaintext"].as_str().unwrap().as_bytes());
    Ok(())
}

/// Layers of the Go implementation, each with every one of its recipients.
fn layer_trials(trials: &mut Vec<Trial>) {
    for (recipients, layer) in json_data("layers.json").as_object().unwrap() {
        for recipient in recipients.split(' ') {
            let (layer, file) = (layer.clone(), format!("{recipient}.pkcs8.pem"));
            trials.push(Trial::test(format!("layer: {recipients}, with {recipient}"), move || {
                let key = unwrap(&payload(&layer), &ring(&[&file]), &mut SysRng)?;
                key.digest().ok_or("no digest was sealed")?;
                Ok(())
            }));
        }
        let layer = layer.clone();
        trials.push(Trial::test(
            format!("layer: {recipients}, without key"),
            move || match unwrap(&payload(&layer), &ring(&["rsa-3072.pkcs8.pem"]), &mut SysRng) {
                Ok(_) => Err("it was opened".into()),
                Err(_) => Ok(()),
            },
        ));
    }
}
