//! Work without end: what takes long is bounded, and the error says so. Numbers above a modulus are
//! paid for like any other, but take no time: so most of these are quick.

use std::ffi::OsStr;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64UrlUnpadded, Encoding};
use keycell_tests::events;
use keycell_tests::jwe::url;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::{Node, says};
use keycell_tests::sealed::{JWE_KEYS, PKCS7_KEYS, Sealed, random};
use keycell_tests::tools::Tool;
use serde_json::json;

use keycell_tests::suite::Cases;

/// Less than the 30 seconds that the step has: the error comes before the deadline.
const SOON: Duration = Duration::from_secs(25);

/// The two hints of too much work.
const FEWER: [&str; 2] = [
    "hint: there are more combinations of keys and recipients than are tried",
    "hint: or have the image encrypted for fewer recipients",
];

pub(crate) fn add(cases: &mut Cases) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        cases.case_with(&[Tool::Openssl], &format!("work/{name}"), run);
    };
    case("rsa-operations", rsa_operations);
    case("cms-content", cms_content);
    case("payload-keys-without-primes", payload_keys_without_primes);
    case("locked-keys-are-not-opened-for-nothing", locked_keys);
    case("the-same-locked-key-a-hundred-times", a_hundred_locked_keys);
}

/// A node whose only key is of RSA.
fn node_with(bits: u32) -> Result<(Node, Sealed, KeyPair)> {
    let (node, sealed) = (Node::without_key()?, Sealed::of_length(1000));
    let key = KeyPair::generate(node.outside(), "rsa", KeyKind::Rsa(bits))?;
    node.add("rsa.pem", key.private(KeyForm::Pkcs8Pem)?)?;
    Ok((node, sealed, key))
}

fn refused(node: &Node, sealed: &Sealed, payload: Vec<u8>, words: &[&str]) -> Result<()> {
    let decoder = node.without_payload(sealed)?.payload(payload).stdin_stays_open();
    let outcome = decoder.deadline(SOON).run()?;
    says(&outcome, words)?;
    says(&outcome, &FEWER)?;
    for untrue in ["encrypted for other keys", "no key of this kind"] {
        ensure!(!outcome.stderr.contains(untrue), "{untrue}: {}", outcome.stderr);
    }
    Ok(())
}

fn above_any_modulus(bytes: usize) -> Vec<u8> {
    let mut number = vec![0xff; bytes];
    number[bytes - 16..].copy_from_slice(&random::<16>());
    number
}

fn rsa_operations() -> Result<()> {
    let (node, sealed, _) = node_with(8192)?;
    let recipient = |_| json!({ "encrypted_key": url(&above_any_modulus(1024)) });
    let jwe = json!({
        "protected": url(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#), "iv": url(&[0; 12]),
        "ciphertext": url(&[0; 100]), "tag": url(&[0; 16]),
        "recipients": (0..500).map(recipient).collect::<Vec<_>>(),
    });
    let payload = sealed.payload_with(JWE_KEYS, &[jwe.to_string()]).bytes();
    refused(&node, &sealed, payload, &["jwe: 1 wrapped key", "too much work"])
}

/// Each of the recipients, which are the same in all messages, makes a key that the content is
/// decrypted with.
fn cms_content() -> Result<()> {
    let (node, sealed, _) = node_with(2048)?;
    let recipients: Vec<_> = (0..200).map(|_| cms_recipient(&above_any_modulus(256))).collect();
    let items: Vec<_> = (0..50).map(|_| cms(&recipients.concat(), 64 * 1024 - 100)).collect();
    let payload = sealed.payload_with(PKCS7_KEYS, &items).bytes();
    refused(&node, &sealed, payload, &["pkcs7: 50 wrapped keys", "too much work"])
}

fn cms_recipient(encrypted_key: &[u8]) -> Vec<u8> {
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let name = der(0x30, &[&der(0x30, &[]), &[2, 1, 1]]);
    der(0x30, &[&[2, 1, 0], &name, &der(0x30, &[RSA]), &der(4, &[encrypted_key])])
}

/// EnvelopedData with AES-128-GCM, as Go writes it but for the parameters.
fn cms(recipients: &[u8], length: usize) -> Vec<u8> {
    const ENVELOPED: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
    const DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const AES_128_GCM: &[u8] = &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 6];
    let parameters = der(0x30, &[&der(4, &[&random::<12>()]), &[2, 1, 16]]);
    let cipher = der(0x30, &[AES_128_GCM, &parameters]);
    let content = der(0x30, &[DATA, &cipher, &der(0x80, &[&vec![7; length]])]);
    let enveloped = der(0x30, &[&[2, 1, 0], &der(0x31, &[recipients]), &content]);
    der(0x30, &[ENVELOPED, &der(0xa0, &[&enveloped])])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = (content.len() as u32).to_be_bytes();
    [&[tag, 0x84][..], &length, &content].concat()
}

/// It takes longer to find the primes of a key than to use it: such keys are tried last, and only as
/// many as the budget of locked keys allows.
fn payload_keys_without_primes() -> Result<()> {
    let (node, sealed, key) = node_with(4096)?;
    let [n, e, d] = numbers(&key.private(KeyForm::Pkcs1Der)?)?;
    let number = Base64UrlUnpadded::encode_string;
    let jwk = json!({ "kty": "RSA", "n": number(&n), "e": number(&e), "d": number(&d) });
    let set = json!({ "keys": vec![jwk; 1000] }).to_string();
    let good = Node::new()?;
    let payload = sealed.payload_for(&good.recipient).private_key(set.as_bytes()).bytes();
    // Nobody needs them where the node has the key.
    let decoder = good.without_payload(&sealed)?.payload(payload.clone()).deadline(SOON);
    let outcome = decoder.run()?;
    outcome.is_silent_success(&sealed.plain)?;
    ensure!(outcome.elapsed < Duration::from_secs(5), "took {:?}", outcome.elapsed);
    fs::remove_file(node.keys().join("rsa.pem"))?;
    refused(&node, &sealed, payload, &["too much work"])
}

/// Modulus and exponents of a key in PKCS#1 (RFC 8017, appendix A.1.2).
fn numbers(der: &[u8]) -> Result<[Vec<u8>; 3]> {
    let mut rest = der.get(4..).context("too short")?;
    let mut next = || -> Result<Vec<u8>> {
        let (header, length) = match rest.get(1).copied().unwrap_or_default() {
            0x82 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            0x81 => (3, usize::from(rest[2])),
            length => (2, usize::from(length)),
        };
        let number = rest.get(header..header + length).context("cut off")?;
        rest = &rest[header + length..];
        Ok(number.to_vec())
    };
    next()?; // the version
    Ok([next()?, next()?, next()?])
}

/// Ten keys that take half a second each, before the one that opens the layer: none of them is
/// opened, or its wrong password would be noted.
fn locked_keys() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let locked = locked(&node, "600000")?;
    for number in 0..10 {
        node.add(&format!("a{number}.pem"), &locked)?;
        node.add(&format!("a{number}.pem.pass"), format!("wrong {number}"))?;
    }
    let log = node.outside().join("log");
    let outcome = node.decoder(&sealed)?.arg("--log").arg(&log).run()?;
    outcome.is_silent_success(&sealed.plain)?;
    let text = fs::read_to_string(&log)?;
    ensure!(!text.contains("passed over"), "{text}");
    ensure!(events::of_layer(&log)?["key"] == keycell_tests::node::KEY, "{text}");
    // Where they are needed they are opened, and the right one is found.
    fs::remove_file(node.keys().join(keycell_tests::node::KEY))?;
    let key = node.outside().join("plain.pem");
    fs::write(&key, node.recipient.private_pem())?;
    let right = locked_from(&node, &key, "600000")?;
    node.add("b.pem", &right)?;
    node.add("b.pem.pass", "correct horse")?;
    node.opens(&sealed)
}

fn a_hundred_locked_keys() -> Result<()> {
    let (node, sealed) = (Node::without_key()?, Sealed::of_length(1000));
    let locked = locked(&node, "600000")?;
    for number in 0..100 {
        node.add(&format!("{number}.pem"), &locked)?;
        node.add(&format!("{number}.pem.pass"), "wrong")?;
    }
    let outcome = node.decoder(&sealed)?.stdin_stays_open().deadline(SOON).run()?;
    says(&outcome, &["too much work", "passed over"])?;
    says(&outcome, &FEWER)
}

/// A locked RSA key.
fn locked(node: &Node, rounds: &str) -> Result<Vec<u8>> {
    let key = KeyPair::generate(node.outside(), "locked", KeyKind::Rsa(2048))?;
    let plain = node.outside().join("locked-plain.pem");
    fs::write(&plain, key.private(KeyForm::Pkcs8Pem)?)?;
    locked_from(node, &plain, rounds)
}

fn locked_from(node: &Node, plain: &std::path::Path, rounds: &str) -> Result<Vec<u8>> {
    let out = node.outside().join("locked.pem");
    let words = ["pkcs8", "-topk8", "-v2", "aes256", "-iter", rounds, "-passout"];
    let words = words.iter().map(OsStr::new).chain(["pass:correct horse".as_ref(), "-in".as_ref()]);
    Tool::Openssl.run(words.chain([plain.as_os_str(), "-out".as_ref(), out.as_os_str()]))?;
    Ok(fs::read(out)?)
}
