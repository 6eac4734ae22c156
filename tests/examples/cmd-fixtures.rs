//! `cmd-fixtures DIR`: writes the payloads, the layer and the keys of `tests/cmd/fixtures`.
//!
//! Run once, and its output committed, so that messages can be read beside the bytes that cause
//! them. Keys and fingerprints are the same every time, wrapped keys are not.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use keycell_tests::guest::COPIES;
use keycell_tests::image::{Descriptor, hex};
use keycell_tests::jwe::{Jwe, Recipient, url};
use keycell_tests::payload::{Payload, TYPE_URL, any};
use keycell_tests::sealed::{JWE_KEYS, PUBLIC_OPTIONS, Sealed};
use keycell_tests::store::manifest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).context("usage: cmd-fixtures DIR")?;
    let dir = Path::new(&dir);
    for name in ["payloads", "keys", "other-keys"] {
        fs::create_dir_all(dir.join(name))?;
    }
    let [node, other] = [[1; 32], [2; 32]].map(|number| Recipient::from_number(&number));
    fs::write(dir.join("keys/node.pem"), node.private_pem())?;
    fs::write(dir.join("other-keys/other.pem"), other.private_pem())?;
    fs::write(dir.join("node.pub"), node.public_pem())?;
    guests(&dir.join("guests"))?;

    let sealed = Sealed::new(b"the plain layer\n".to_vec());
    fs::write(dir.join("layer"), &sealed.encrypted)?;
    let payloads = Payloads { dir, sealed, node };
    payloads.whole()?;
    payloads.stores()?;
    payloads.of_descriptors()?;
    payloads.of_options()?;
    payloads.of_wrapped_keys()
}

/// Guests to install, and some that are none.
fn guests(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let copies = wat::parse_str(COPIES)?;
    fs::write(dir.join("cut-off.wasm"), &copies[..copies.len() / 2])?;
    fs::write(dir.join("copies.wasm"), copies)?;
    let http = r#"(component (import "wasi:http/types@0.2.0" (instance)))"#;
    fs::write(dir.join("http.wasm"), wat::parse_str(http)?)?;
    fs::write(dir.join("library.wasm"), wat::parse_str("(module (func (export \"open\")))")?)?;
    // It made wasmtime 48.0.8 panic (GHSA-rc4p-x33f-vpr2).
    let subtype = r#"(module (type $super (sub (func))) (type $sub (sub $super (func)))
        (memory (export "memory") 1) (table funcref (elem $f)) (func $f (type $sub))
        (func (export "_start") (call_indirect (type $super) (i32.const 0))))"#;
    fs::write(dir.join("subtype.wasm"), wat::parse_str(subtype)?)?;
    Ok(())
}

struct Payloads<'a> {
    dir: &'a Path,
    sealed: Sealed,
    node: Recipient,
}

impl Payloads<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(fs::write(self.dir.join("payloads").join(name), bytes)?)
    }

    /// The payload as such.
    fn whole(&self) -> Result<()> {
        let good = self.sealed.payload_for(&self.node);
        self.write("good", &good.bytes())?;
        self.write("cut-short", &good.bytes()[..100])?;
        self.write("other-type", &good.clone().type_url("type.googleapis.com/x").bytes())?;
        self.write("not-json", &any(TYPE_URL, b"{\n  \"Descriptor\": oops".to_vec()))?;
        self.write("not-an-object", &any(TYPE_URL, b"[]".to_vec()))?;
        let keys = json!({ "DecryptConfig": { "Parameters": { "privkeys": ["%"] } } });
        self.write("not-base64", &any(TYPE_URL, keys.to_string().into_bytes()))
    }

    /// Content stores: one with the image, one with an empty configuration and nothing else, and one
    /// whose manifest names a layer that is not there.
    fn stores(&self) -> Result<()> {
        let wrapped = self.sealed.wrapped_for(&self.node).compact();
        let layer = self.sealed.descriptor(&[wrapped]);
        let image = manifest(std::slice::from_ref(&layer)).to_string();
        let gone = Descriptor { digest: format!("sha256:{}", "0".repeat(64)), ..layer };
        let gone = manifest(&[gone]).to_string();
        for (store, blobs) in [
            ("store", &[&self.sealed.encrypted[..], image.as_bytes()][..]),
            ("store-bare", &[b"{}"]),
            ("store-gone", &[gone.as_bytes()]),
        ] {
            let blobs_of = self.dir.join(store).join("blobs/sha256");
            fs::create_dir_all(&blobs_of)?;
            for blob in blobs {
                fs::write(blobs_of.join(hex(&Sha256::digest(blob))), blob)?;
            }
        }
        Ok(())
    }

    /// The descriptor and its annotations.
    fn of_descriptors(&self) -> Result<()> {
        let wrapped = self.sealed.wrapped_for(&self.node).compact();
        let descriptor = self.sealed.descriptor(&[wrapped]);
        let write = |name: &str, change: fn(&mut Descriptor)| {
            let mut descriptor = descriptor.clone();
            change(&mut descriptor);
            self.write(name, &Payload::new(&descriptor).bytes())
        };
        write("media-type", |layer| layer.media_type = "application/json".into())?;
        write("no-annotations", |layer| layer.annotations.clear())?;
        write("no-public-options", |layer| drop(layer.annotations.remove(PUBLIC_OPTIONS)))?;
        write("public-options-not-base64", |layer| {
            layer.annotations.insert(PUBLIC_OPTIONS.into(), "%".into());
        })?;
        write("public-options-not-json", |layer| {
            layer.annotations.insert(PUBLIC_OPTIONS.into(), Base64::encode_string(b"{"));
        })?;
        write("item-not-base64", |layer| {
            layer.annotations.insert(JWE_KEYS.into(), "%".into());
        })
    }

    /// Both halves of the options.
    fn of_options(&self) -> Result<()> {
        let write = |name: &str, change: fn(&mut Sealed)| {
            let mut sealed = self.sealed.clone();
            change(&mut sealed);
            self.write(name, &sealed.payload_for(&self.node).bytes())
        };
        write("no-cipher", |sealed| sealed.public["cipher"] = Value::Null)?;
        write("other-cipher", |sealed| sealed.public["cipher"] = "AES_256_GCM".into())?;
        write("hmac-not-base64", |sealed| sealed.public["hmac"] = "%".into())?;
        write("short-hmac", |sealed| sealed.public["hmac"] = "AAAA".into())?;
        write("short-key", |sealed| sealed.private["symkey"] = "AAAA".into())?;
        write("no-nonce", |sealed| sealed.private["cipheroptions"] = json!({}))?;
        write("short-nonce", |sealed| sealed.private["cipheroptions"]["nonce"] = "AAAA".into())?;
        write("two-nonces", |sealed| {
            sealed.public["cipheroptions"]["nonce"] = Base64::encode_string(&[0; 16]).into();
        })?;
        write("malformed-digest", |sealed| sealed.private["digest"] = "sha256:0".into())?;
        write("other-digest", |sealed| {
            sealed.private["digest"] = format!("sha256:{}", "0".repeat(64)).into();
        })
    }

    /// Wrapped keys that no key opens.
    fn of_wrapped_keys(&self) -> Result<()> {
        let private = self.sealed.private.to_string();
        let seal = |more| Jwe::seal(&self.node, private.as_bytes(), more).compact();
        let changed = |change: fn(&mut Jwe)| {
            let mut jwe = self.sealed.wrapped_for(&self.node);
            change(&mut jwe);
            jwe.compact()
        };
        let twice = "{\"protected\":\"e30\",\"protected\":\"e30\"}".to_owned();
        for (name, item) in [
            ("jwe-malformed", "hello".to_owned()),
            ("jwe-duplicate-member", twice),
            ("jwe-critical", seal(json!({ "crit": ["b64"] }))),
            ("jwe-algorithm", seal(json!({ "alg": "RSA1_5" }))),
            ("jwe-encryption", seal(json!({ "enc": "XC20P" }))),
            ("jwe-compression", seal(json!({ "zip": "GZ" }))),
            ("jwe-not-compressed", seal(json!({ "zip": "DEF" }))),
            ("jwe-altered", changed(|jwe| jwe.tag[0] ^= 1)),
            ("jwe-without-key", changed(|jwe| jwe.encrypted_key.clear())),
            (
                "jwe-rsa",
                changed(|jwe| {
                    jwe.protected = url(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
                    jwe.encrypted_key = vec![1; 256];
                }),
            ),
        ] {
            self.write(name, &self.sealed.payload(&[item]).bytes())?;
        }
        let private = Jwe::seal(&self.node, b"{", json!({})).compact();
        self.write("private-options-not-json", &self.sealed.payload(&[private]).bytes())?;
        let good = self.sealed.wrapped_for(&self.node).compact();
        let items = vec!["hello".to_owned(), "%".repeat(3), good];
        self.write("bad-items-and-a-good-one", &self.sealed.payload(&items).bytes())
    }
}
