//! What the tests of PKCS#7 share.

use std::collections::BTreeMap;

use getrandom::SysRng;
use ocicrypt::bounds::Bounds;
use ocicrypt::keyring::{KeyRing, NamedKey};
use ocicrypt::layer::LayerKey;
use ocicrypt::pkcs7::{Envelope, Pkcs7Error, Search, Which};
use serde_json::{Value, json};

use super::{base64, data, json_data, key_file};

/// One message that opens.
pub struct Case {
    pub name: String,
    pub key: String,
    pub cms: Vec<u8>,
}

pub struct Messages {
    pub plaintext: String,
    pub cases: Vec<Case>,
    pub negative: BTreeMap<String, Vec<u8>>,
}

pub fn messages() -> Messages {
    let found = json_data("pkcs7/messages.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let case = |case: &Value| Case {
        name: text(&case["name"]),
        key: text(&case["key"]),
        cms: from_base64(&text(&case["cms"])),
    };
    let negative = found["negative"].as_object().unwrap().iter();
    Messages {
        plaintext: text(&found["plaintext"]),
        cases: found["cases"].as_array().unwrap().iter().map(case).collect(),
        negative: negative.map(|(name, cms)| (name.clone(), from_base64(&text(cms)))).collect(),
    }
}

/// A message by its name.
pub fn message(name: &str) -> Vec<u8> {
    messages().cases.into_iter().find(|case| case.name == name).unwrap().cms
}

/// The certificate of the key `name`.
pub fn certificate(name: &str) -> String {
    format!("{name}.cert.pem")
}

/// A ring of keys, by name, and certificates, by the name of their files.
pub fn ring(names: &[&str]) -> KeyRing {
    let mut ring = KeyRing::new();
    for name in names {
        match name.contains('.') {
            true => ring.add_file(name, &data(&format!("pkcs7/{name}"))),
            false => ring.add_file(name, &key_file(&format!("{name}.pkcs8.pem"))),
        }
    }
    assert_eq!(ring.skipped(), []);
    ring
}

/// Opens with the keys whose certificate is named.
pub fn named_only(cms: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Vec<Pkcs7Error>> {
    open(cms, ring, &[Which::Named])
}

/// Opens with every key.
pub fn open_any(cms: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Vec<Pkcs7Error>> {
    open(cms, ring, &[Which::Named, Which::AnyKey])
}

fn open(cms: &[u8], ring: &KeyRing, which: &[Which]) -> Result<Vec<u8>, Vec<Pkcs7Error>> {
    let mut envelope = Envelope::parse(cms).map_err(|error| vec![error])?;
    let (mut search, mut bounds) =
        (Search::new(ring.keys().map(NamedKey::key), ring.certificates()), Bounds::default());
    for which in which {
        let accept = |text: &[u8]| Ok(text.to_vec());
        let opened = envelope.open(*which, &mut search, &mut bounds, &mut SysRng, accept);
        if let Some(opened) = opened {
            return Ok(opened.accepted);
        }
    }
    Err(envelope.failures())
}

/// A descriptor with these wrapped keys.
pub fn descriptor(messages: &[impl AsRef<[u8]>]) -> Value {
    let mut descriptor = super::descriptor(&[] as &[&str]);
    let annotations = descriptor["annotations"].as_object_mut().unwrap();
    annotations.remove("org.opencontainers.image.enc.keys.jwe");
    let items: Vec<_> = messages.iter().map(|message| base64(message.as_ref())).collect();
    annotations.insert("org.opencontainers.image.enc.keys.pkcs7".into(), json!(items.join(",")));
    descriptor
}

/// Whether this is what is in all messages.
pub fn is_the_key(key: &LayerKey) -> bool {
    key.key()[..] == (0..32).collect::<Vec<u8>>()[..]
        && key.nonce()[..] == (100..116).collect::<Vec<u8>>()[..]
        && key.hmac() == &[7; 32]
        && key.digest() == Some(format!("sha256:{}", "5a".repeat(32)))
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64ct::Encoding;
    base64ct::Base64::decode_vec(text).unwrap()
}
