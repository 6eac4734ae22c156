//! What the tests share.

#![allow(dead_code, clippy::unwrap_used)]

pub mod pgp;
pub mod pkcs7;

use std::fs;
use std::path::PathBuf;

use getrandom::SysRng;
use ocicrypt::bounds::Bounds;
use ocicrypt::jwe::{Jwe, JweError, Search};
use ocicrypt::keyring::{KeyRing, NamedKey};
use ocicrypt::keys::Which;
use ocicrypt::payload::{Payload, TYPE_URL};
use serde_json::{Value, json};

pub fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn key_file(name: &str) -> Vec<u8> {
    data(&format!("keys/{name}"))
}

pub fn json_data(name: &str) -> Value {
    serde_json::from_slice(&data(name)).unwrap()
}

pub fn ring(names: &[&str]) -> KeyRing {
    let mut ring = KeyRing::new();
    for name in names {
        ring.add_file(name, &key_file(name));
    }
    ring
}

/// A field of a protobuf message that holds bytes.
pub fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(bytes);
    field
}

pub fn any(json: &Value) -> Vec<u8> {
    [field(1, TYPE_URL.as_bytes()), field(2, json.to_string().as_bytes())].concat()
}

pub fn payload(descriptor: &Value) -> Payload {
    let json = json!({ "DecryptConfig": { "Parameters": null }, "Descriptor": descriptor });
    Payload::parse(&any(&json)).unwrap()
}

/// A descriptor with these wrapped keys and the public options that fit the fixtures.
pub fn descriptor(jwes: &[impl AsRef<[u8]>]) -> Value {
    let items: Vec<_> = jwes.iter().map(|jwe| base64(jwe.as_ref())).collect();
    let public = json!({
        "cipher": "AES_256_CTR_HMAC_SHA256", "hmac": base64(&[7; 32]), "cipheroptions": {},
    });
    json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "digest": "sha256:00", "size": 5,
        "annotations": {
            "org.opencontainers.image.enc.keys.jwe": items.join(","),
            "org.opencontainers.image.enc.pubopts": base64(public.to_string().as_bytes()),
        },
    })
}

pub fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(bytes)
}

pub fn base64url(bytes: &[u8]) -> String {
    use base64ct::Encoding;
    base64ct::Base64UrlUnpadded::encode_string(bytes)
}

pub fn from_base64url(text: &str) -> Vec<u8> {
    use base64ct::Encoding;
    base64ct::Base64UrlUnpadded::decode_vec(text).unwrap()
}

/// Parses and decrypts; the error is that of parsing or of the recipients.
pub fn open(jwe: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Vec<JweError>> {
    let mut jwe = Jwe::parse(jwe).map_err(|error| vec![error])?;
    let keys: Vec<_> = ring.keys().map(NamedKey::key).collect();
    let (mut search, mut bounds) = (Search::default(), Bounds::default());
    let opened = jwe.open(Which::AnyKey, &keys, &mut search, &mut bounds, &mut SysRng);
    opened.map(|opened| opened.content.to_vec()).ok_or_else(|| jwe.failures())
}
