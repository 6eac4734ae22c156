//! OpenPGP keys and messages that others made: GnuPG, rPGP, and layers that the Go implementation
//! encrypted, a named case each. `tests/data/pgp/README.md` says how they were made.

#![allow(clippy::unwrap_used)]

mod common;

use common::pgp::{descriptor, json, key, message, open, payload_with};
use common::{data, json_data};
use getrandom::SysRng;
use libtest_mimic::{Arguments, Failed, Trial};
use ocicrypt::keyring::KeyRing;
use ocicrypt::unwrap::unwrap;
use serde_json::Value;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    message_trials(&mut trials);
    key_trials(&mut trials);
    layer_trials(&mut trials);
    libtest_mimic::run(&arguments, trials).exit();
}

/// Every message of both programs, with the key that it is for: the content that comes out, and
/// the layer key, from a whole payload.
fn message_trials(trials: &mut Vec<Trial>) {
    for program in ["gnupg", "rpgp"] {
        for case in json(program)["cases"].as_array().unwrap().clone() {
            let name = format!("{program}: {}", case["name"].as_str().unwrap());
            trials.push(Trial::test(name, move || {
                let file = case["key"].as_str().unwrap().to_owned() + ".gpg";
                opens(&case, &file)
            }));
        }
    }
}

fn opens(case: &Value, file: &str) -> Result<(), Failed> {
    let (file, password) = (key(file), password_of(file));
    let message = message(&case["message"]);
    let plaintext = open(&message, &file, password).map_err(|errors| format!("{errors:?}"))?;
    // In text mode, GnuPG ends the line.
    if plaintext.trim_ascii_end() != json_data("jwe.json")["plaintext"].as_str().unwrap().as_bytes()
    {
        return Err("another plaintext came out".into());
    }
    let payload = payload_with(&descriptor(&[message]), &file, password);
    let mut ring = KeyRing::new();
    ring.add_parameters(&payload.parameters);
    let key = unwrap(&payload, &ring, &mut SysRng)?;
    let digest = format!("sha256:{}", "5a".repeat(32));
    let right = key.key()[..] == (0..32).collect::<Vec<u8>>()[..]
        && key.nonce()[..] == (100..116).collect::<Vec<u8>>()[..]
        && key.hmac() == &[7; 32]
        && key.digest() == Some(digest);
    right.then_some(()).ok_or_else(|| Failed::from("another layer key came out"))
}

fn password_of(file: &str) -> Option<&'static [u8]> {
    file.contains("locked").then_some(b"secret")
}

/// Every key file: the fingerprints that its program tells, and for GnuPG that the armored form
/// opens what the binary one does.
fn key_trials(trials: &mut Vec<Trial>) {
    for program in ["gnupg", "rpgp"] {
        let known = json_data(&format!(
            "pgp/keys/{}",
            match program {
                "gnupg" => "fingerprints.json",
                _ => "rpgp-fingerprints.json",
            }
        ));
        for (name, known) in known.as_object().unwrap() {
            for form in if program == "gnupg" && !name.contains("old") {
                &["gpg", "asc"][..]
            } else {
                &["gpg"]
            } {
                let (file, known) = (format!("{name}.{form}"), known.clone());
                trials.push(Trial::test(format!("key: {program} {file}"), move || {
                    let mut ring = KeyRing::new();
                    ring.add_file(&file, &key(&file));
                    assert_eq!(ring.skipped(), []);
                    let found: Vec<_> =
                        ring.pgp_keys().map(|key| key.key().fingerprint().to_string()).collect();
                    let known = known.as_array().unwrap();
                    let known: Vec<_> = known.iter().map(|known| known.as_str().unwrap()).collect();
                    // Primary keys of Ed25519 and the like only sign.
                    let known = if known.len() == found.len() { &known[..] } else { &known[1..] };
                    assert_eq!(found, known);
                    Ok(())
                }));
            }
        }
    }
    for case in json("gnupg")["cases"].as_array().unwrap().clone() {
        let name = case["name"].as_str().unwrap().to_owned();
        if name == "key rsa-2048.locked" {
            let case = case.clone();
            trials.push(Trial::test("primary key is a stub", move || {
                opens(&case, "stub.locked.gpg")
            }));
        }
        if name.starts_with("key ") && !name.contains("old") {
            trials.push(Trial::test(format!("armored: {name}"), move || {
                opens(&case, &(case["key"].as_str().unwrap().to_owned() + ".asc"))
            }));
        }
    }
}

/// Layers of the Go implementation, each with every one of its recipients.
fn layer_trials(trials: &mut Vec<Trial>) {
    for (recipients, layer) in json_data("pgp/layers.json").as_object().unwrap() {
        for recipient in recipients.split(' ') {
            let (layer, file) = (layer.clone(), format!("{recipient}.gpg"));
            trials.push(Trial::test(format!("layer: {recipients}, with {recipient}"), move || {
                let payload = payload_with(&layer, &key(&file), password_of(&file));
                let mut ring = KeyRing::new();
                ring.add_parameters(&payload.parameters);
                let key = unwrap(&payload, &ring, &mut SysRng)?;
                key.digest().ok_or("no digest was sealed")?;
                Ok(())
            }));
        }
        let layer = layer.clone();
        trials.push(Trial::test(format!("layer: {recipients}, without key"), move || {
            let payload = payload_with(&layer, &key("rsa-4096.gpg"), None);
            let mut ring = KeyRing::new();
            ring.add_parameters(&payload.parameters);
            ring.add_file("other.pem", &data("keys/rsa-2048.pkcs8.pem"));
            match unwrap(&payload, &ring, &mut SysRng) {
                Ok(_) => Err("it was opened".into()),
                Err(error) if error.to_string().contains("it is for other keys (") => Ok(()),
                Err(error) => Err(error.into()),
            }
        }));
    }
}
