//! Project Wycheproof's JWE vectors, a named case each. They lie beside the repository; without
//! them there is nothing to run.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use ocicrypt::keyring::KeyRing;
use serde_json::Value;

const VECTORS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/json_web_encryption_test.json");

/// What the format has; the vectors cover more.
const ALGORITHMS: [&str; 5] =
    ["RSA-OAEP", "RSA-OAEP-256", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"];

fn main() {
    let arguments = Arguments::from_args();
    let trials = if Path::new(VECTORS).exists() {
        let vectors: Value = serde_json::from_slice(&std::fs::read(VECTORS).unwrap()).unwrap();
        trials(&vectors)
    } else {
        println!("skipped: there are no vectors at {VECTORS}");
        Vec::new()
    };
    libtest_mimic::run(&arguments, trials).exit();
}

fn trials(vectors: &Value) -> Vec<Trial> {
    let mut trials = Vec::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            let (key, test) = (group["private"].clone(), test.clone());
            let name = format!("{} {}", test["tcId"], test["comment"].as_str().unwrap());
            trials.push(Trial::test(name, move || check(&key, &test)));
        }
    }
    assert_eq!(trials.len(), 139, "the vectors are not the ones that this test was written for");
    trials
}

fn check(key: &Value, test: &Value) -> Result<(), Failed> {
    let jwe = test["jwe"].as_str().unwrap();
    let header = jwe.split('.').next().unwrap();
    let algorithm = if jwe.starts_with('{') { None } else { algorithm(header) };
    let in_scope = algorithm.is_some_and(|alg| ALGORITHMS.contains(&alg.as_str()));
    let valid = test["result"] == "valid" && in_scope;
    let mut ring = KeyRing::new();
    ring.add_file("key", key.to_string().as_bytes());
    if in_scope && ring.is_empty() {
        return Err(format!("the key was refused: {}", ring.skipped()[0]).into());
    }
    match (common::open(jwe.as_bytes(), &ring), valid) {
        (Ok(plaintext), true) if hex(&plaintext) == test["pt"].as_str().unwrap() => Ok(()),
        (Ok(_), true) => Err("another plaintext came out".into()),
        (Ok(_), false) => Err("it was accepted".into()),
        (Err(errors), true) => Err(format!("it was refused: {errors:?}").into()),
        (Err(_), false) => Ok(()),
    }
}

fn algorithm(header: &str) -> Option<String> {
    use base64ct::Encoding;
    let header = base64ct::Base64UrlUnpadded::decode_vec(header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header["alg"].as_str().map(str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
