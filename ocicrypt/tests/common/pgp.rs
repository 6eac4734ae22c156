//! What the tests of OpenPGP share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::Encoding;
use getrandom::SysRng;
use ocicrypt::bounds::Bounds;
use ocicrypt::keyring::{KeyRing, NamedPgpKey};
use ocicrypt::payload::Payload;
use ocicrypt::pgp::{PgpError, PgpMessage, Search};
use serde_json::{Value, json};

use super::{any, base64, data, json_data};

/// A day in spring of that year.
pub fn at(year: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952 + 10_000_000)
}

pub fn key(name: &str) -> Vec<u8> {
    data(&format!("pgp/keys/{name}"))
}

pub fn json(program: &str) -> Value {
    json_data(&format!("pgp/{program}.json"))
}

pub fn message(text: &Value) -> Vec<u8> {
    base64ct::Base64::decode_vec(text.as_str().unwrap()).unwrap()
}

/// The message of the case `name` that GnuPG made.
pub fn case(name: &str) -> Vec<u8> {
    let cases = json("gnupg")["cases"].as_array().unwrap().clone();
    message(&cases.iter().find(|case| case["name"] == name).unwrap()["message"])
}

/// A descriptor with these wrapped keys and the public options that fit the fixtures.
pub fn descriptor(messages: &[Vec<u8>]) -> Value {
    let mut descriptor = super::descriptor(messages);
    let annotations = descriptor["annotations"].as_object_mut().unwrap();
    let keys = annotations.remove("org.opencontainers.image.enc.keys.jwe").unwrap();
    annotations.insert("org.opencontainers.image.enc.keys.pgp".to_owned(), keys);
    descriptor
}

/// A payload that brings one OpenPGP key file.
pub fn payload_with(descriptor: &Value, file: &[u8], password: Option<&[u8]>) -> Payload {
    let passwords: Vec<_> = password.map(base64).into_iter().collect();
    let parameters =
        json!({ "gpg-privatekeys": [base64(file)], "gpg-privatekeys-passwords": passwords });
    let json = json!({ "DecryptConfig": { "Parameters": parameters }, "Descriptor": descriptor });
    Payload::parse(&any(&json)).unwrap()
}

/// A ring of one OpenPGP key file.
pub fn ring_of(file: &[u8], password: Option<&[u8]>) -> KeyRing {
    let mut ring = KeyRing::new();
    ring.add_parameters(&payload_with(&json!({}), file, password).parameters);
    ring
}

/// Parses and decrypts; the errors are that of parsing or those of the recipients.
pub fn open_with(message: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Vec<PgpError>> {
    let message = PgpMessage::parse(message).map_err(|error| vec![error])?;
    let mut work = Search::new(ring.pgp_keys().map(NamedPgpKey::key));
    let opened = message.decrypt(&mut work, &mut Bounds::default(), &mut SysRng);
    opened.map(|opened| opened.content.to_vec())
}

pub fn open(
    message: &[u8],
    file: &[u8],
    password: Option<&[u8]>,
) -> Result<Vec<u8>, Vec<PgpError>> {
    open_with(message, &ring_of(file, password))
}
