//! CMS content in CBC beside other wrapped keys: it is tried last, with every key, and does not tell whether
//! it was opened.

#![allow(clippy::unwrap_used)]

mod common;

use common::pkcs7::{certificate, descriptor, is_the_key, message, messages, ring};
use common::{json_data, payload};
use getrandom::SysRng;
use ocicrypt::annotation::Scheme;
use ocicrypt::broker::NoBroker;
use ocicrypt::keyring::KeyRing;
use ocicrypt::unwrap::{Opened, UnwrapError, unwrap_with};
use serde_json::Value;

fn open(descriptor: &Value, ring: &KeyRing) -> Result<Opened, UnwrapError> {
    unwrap_with(&payload(descriptor), ring, &mut NoBroker, &mut SysRng)
}

/// The message with its last block altered.
fn altered(mut cms: Vec<u8>) -> Vec<u8> {
    let last = cms.len() - 17;
    cms[last] ^= 1;
    cms
}

#[test]
fn what_is_authenticated_comes_first() {
    let ring = ring(&["rsa-2048", &certificate("rsa-2048"), "p-256"]);
    let hostile = altered(message("aes-256-cbc DER"));
    // Of the same scheme, and of one that comes later.
    let descriptor_of_both = descriptor(&[&hostile, &message("aes-256-gcm DER")]);
    let opened = open(&descriptor_of_both, &ring).unwrap();
    assert!(opened.is_authenticated && is_the_key(&opened.key));
    let jwe = json_data("jwe.json")["cases"][0]["jwe"].as_str().unwrap().to_owned();
    let opened = with(&hostile, "jwe", jwe.as_bytes(), &ring);
    assert!(opened.is_authenticated && opened.scheme == Scheme::Jwe && is_the_key(&opened.key));
    let mut ring = common::pkcs7::ring(&["rsa-2048"]);
    ring.add_file("cv25519.gpg", &common::pgp::key("cv25519.gpg"));
    let opened = with(&hostile, "pgp", &common::pgp::case("key cv25519"), &ring);
    assert!(opened.is_authenticated && opened.scheme == Scheme::Pgp);
}

/// Opens the layer of a CMS message and another wrapped key.
fn with(cms: &[u8], scheme: &str, item: &[u8], ring: &KeyRing) -> Opened {
    let mut descriptor = descriptor(&[cms]);
    let annotation = format!("org.opencontainers.image.enc.keys.{scheme}");
    descriptor["annotations"][annotation] = common::base64(item).into();
    open(&descriptor, ring).unwrap()
}

/// Without a certificate the right key is not the first; the name of the one that opened it is not told.
#[test]
fn every_key_is_tried() {
    let keys = ring(&["rsa-e3", "rsa-2048"]);
    let good = open(&descriptor(&[message("aes-256-cbc DER")]), &keys).unwrap();
    assert!(!good.is_authenticated && is_the_key(&good.key));
    assert_eq!(good.by.name, "rsa-e3 or rsa-2048");
    let bad = open(&descriptor(&[altered(message("aes-256-cbc DER"))]), &keys).unwrap();
    assert!(!bad.is_authenticated && !is_the_key(&bad.key));
    assert_eq!(bad.by, good.by);
    // With one, its key alone is meant.
    let keys = ring(&["rsa-e3", "rsa-2048", &certificate("rsa-2048")]);
    let good = open(&descriptor(&[message("aes-256-cbc DER")]), &keys).unwrap();
    let bad = open(&descriptor(&[altered(message("aes-256-cbc DER"))]), &keys).unwrap();
    assert!(is_the_key(&good.key) && good.by.name == "rsa-2048" && good.by == bad.by);
}

#[test]
fn an_encrypted_key_with_two_contents_is_refused_by_name() {
    let keys = ring(&["rsa-2048", &certificate("rsa-2048")]);
    let (good, bad) = (message("aes-256-cbc DER"), altered(message("aes-256-cbc DER")));
    for items in [[&good, &bad], [&bad, &good]] {
        let error = open(&descriptor(&items), &keys).err().unwrap().to_string();
        assert!(error.contains("its encrypted key comes with another content too"), "{error}");
    }
    // Copies are one content, and those of other encrypted keys are not concerned.
    let other = message("aes-192-cbc DER");
    for items in [&[&good, &good][..], &[&bad, &good, &other], &[&altered(good.clone()), &other]] {
        assert!(is_the_key(&open(&descriptor(items), &keys).unwrap().key));
    }
}

/// Nothing of what failed is told, but what everyone can see.
#[test]
fn what_everyone_can_see_is_told() {
    let other_size = open(&descriptor(&[message("aes-256-cbc DER")]), &ring(&["rsa-3072"]));
    let error = other_size.err().unwrap().to_string();
    assert!(error.contains("no key of this kind (RSA-2048)"), "{error}");
    let none = open(&descriptor(&[message("aes-256-cbc DER")]), &KeyRing::new());
    assert!(none.err().unwrap().to_string().contains("but there is no private key"));
    // Public options that fit no key.
    for padding in ["padding 0", "padding 17"] {
        let mut descriptor = descriptor(&[&messages().negative[padding]]);
        let public = br#"{"cipher":"ROT13","hmac":"AAAA"}"#;
        descriptor["annotations"]["org.opencontainers.image.enc.pubopts"] =
            common::base64(public).into();
        let error = open(&descriptor, &ring(&["rsa-2048"])).err().unwrap().to_string();
        assert!(error.contains("the layer cipher `ROT13` is not known"), "{error}");
    }
}
