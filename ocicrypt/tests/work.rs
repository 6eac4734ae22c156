//! Everything whose cost an image or a key file chooses is paid from one budget; and what honest
//! images cost is affordable. Costs are counted, not timed.

#![allow(clippy::unwrap_used)]

mod common;

use base64ct::{Base64UrlUnpadded, Encoding};
use common::{base64, data, payload};
use crypto_bigint::{BoxedUint, ConcatenatingMul};
use getrandom::SysRng;
use ocicrypt::bounds::Bounds;
use ocicrypt::broker::NoBroker;
use ocicrypt::budget::{Budget, LAYER};
use ocicrypt::encrypt::{self, Recipient};
use ocicrypt::keyring::KeyRing;
use ocicrypt::layer::Encryptor;
use ocicrypt::payload::Payload;
use ocicrypt::unwrap::{Opened, UnwrapError, unwrap_within};
use serde_json::{Value, json};

/// An RSA-2048 operation, as the budget counts it.
const OPERATION: u64 = 1_300_000;

/// RSA-2048 keys that share primes, so that they are made quickly.
struct Keys(Vec<[BoxedUint; 4]>);

impl Keys {
    fn new(count: usize) -> Self {
        let primes = String::from_utf8(data("primes-1024.txt")).unwrap();
        let primes: Vec<_> = primes
            .split_whitespace()
            .map(|hex| BoxedUint::from_be_hex(hex, 1024).unwrap())
            .collect();
        let (first, second) = primes.split_at(primes.len() / 2);
        let pairs = first.iter().flat_map(|p| second.iter().map(move |q| (p, q)));
        let (one, e) = (BoxedUint::one(), BoxedUint::from(65537_u64));
        let keys = pairs.take(count).map(|(p, q)| {
            let order = p.wrapping_sub(&one).concatenating_mul(q.wrapping_sub(&one));
            let d = inverse_of_65537(&order, &e);
            [p.concatenating_mul(q), d, p.clone(), q.clone()]
        });
        Self(keys.collect())
    }

    fn public(&self, index: usize) -> Vec<u8> {
        let n = encode(&self.0[index][0]);
        json!({ "kty": "RSA", "n": n, "e": "AQAB" }).to_string().into_bytes()
    }

    fn private(&self, index: usize) -> Vec<u8> {
        let [n, d, p, q] = self.0[index].each_ref().map(encode);
        let key = json!({ "kty": "RSA", "n": n, "e": "AQAB", "d": d, "p": p, "q": q });
        key.to_string().into_bytes()
    }

    fn without_primes(&self, index: usize) -> Vec<u8> {
        let mut key: Value = serde_json::from_slice(&self.private(index)).unwrap();
        key.as_object_mut().unwrap().retain(|name, _| name != "p" && name != "q");
        key.to_string().into_bytes()
    }
}

/// (1 + k · order) / e, where k is -1 / order modulo e.
fn inverse_of_65537(order: &BoxedUint, e: &BoxedUint) -> BoxedUint {
    let small = 65537_u64;
    let rest = order.rem(&e.to_nz().unwrap()).as_words()[0];
    let k = (1..small).find(|k| (k * rest + 1).is_multiple_of(small)).unwrap();
    let multiple = order.concatenating_mul(BoxedUint::from(k));
    let (d, rest) = multiple.wrapping_add(BoxedUint::one()).div_rem(&e.to_nz().unwrap());
    assert!(bool::from(rest.is_zero()));
    d
}

fn encode(number: &BoxedUint) -> String {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Base64UrlUnpadded::encode_string(&bytes[zeros..])
}

/// A layer for these recipients, and its JWE.
fn layer_for(keys: impl Iterator<Item = Vec<u8>>) -> (Value, Value) {
    let recipients: Vec<_> = keys.map(|key| Recipient::jwe(&key).unwrap()).collect();
    let key = Encryptor::new(&mut SysRng).unwrap().finish();
    let annotations = encrypt::annotations(&key, &recipients, &mut SysRng).unwrap();
    let jwe = &annotations["org.opencontainers.image.enc.keys.jwe"];
    let jwe = base64ct::Base64::decode_vec(jwe).unwrap();
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "digest": "sha256:00", "size": 5, "annotations": annotations,
    });
    (descriptor, serde_json::from_slice(&jwe).unwrap())
}

/// What came of it, and what it cost.
fn search(payload: &Payload, ring: &KeyRing) -> (Result<Opened, UnwrapError>, u64) {
    let mut bounds = Bounds { budget: Budget::new(LAYER), ..Bounds::default() };
    let opened = unwrap_within(payload, ring, &mut NoBroker, &mut bounds, &mut SysRng);
    (opened, LAYER - bounds.budget.left())
}

fn ring_of(keys: &Keys, indices: impl Iterator<Item = usize>) -> KeyRing {
    let mut ring = KeyRing::new();
    indices.for_each(|index| ring.add_file(&format!("{index}.jwk"), &keys.private(index)));
    ring
}

/// The last of 40 recipients is for the last of 200 keys.
fn forty_and_two_hundred() -> (Keys, KeyRing) {
    let keys = Keys::new(225);
    let ring = ring_of(&keys, 0..200);
    assert_eq!(ring.len(), 200);
    (keys, ring)
}

#[test]
fn forty_recipients_and_two_hundred_keys_open_without_a_kid() {
    let (keys, ring) = forty_and_two_hundred();
    let others = (0..39).map(|index| keys.public(200 + index % 25));
    let (mut descriptor, mut jwe) = layer_for(others.chain([keys.public(199)]));
    for recipient in jwe["recipients"].as_array_mut().unwrap() {
        recipient["header"].as_object_mut().unwrap().remove("kid").unwrap();
    }
    let annotations = &mut descriptor["annotations"];
    annotations["org.opencontainers.image.enc.keys.jwe"] =
        base64(jwe.to_string().as_bytes()).into();
    let (opened, cost) = search(&payload(&descriptor), &ring);
    assert_eq!(opened.unwrap().by.name, "199.jwk");
    assert!((8000 * OPERATION..LAYER * 9 / 10).contains(&cost), "{cost}");
}

#[test]
fn a_kid_finds_the_key_at_once() {
    let (keys, ring) = forty_and_two_hundred();
    let others = (0..39).map(|index| keys.public(200 + index % 25));
    let (descriptor, jwe) = layer_for(others.chain([keys.public(199)]));
    let kid = jwe["recipients"][39]["header"]["kid"].as_str().unwrap();
    let key = ring.keys().last().unwrap();
    assert_eq!(kid, key.fingerprint().to_string());
    let (opened, cost) = search(&payload(&descriptor), &ring);
    assert_eq!(opened.unwrap().by.name, "199.jwk");
    assert!(cost < 30 * OPERATION, "{cost}");
}

/// It is only a hint: one that lies costs an attempt and no more.
#[test]
fn a_kid_that_lies_does_no_harm() {
    let keys = Keys::new(3);
    let ring = ring_of(&keys, 0..3);
    let (mut descriptor, jwe) = layer_for([0, 2].map(|index| keys.public(index)).into_iter());
    let mut recipients = jwe["recipients"].as_array().unwrap().clone();
    let kid = recipients[0]["header"]["kid"].clone();
    recipients.remove(0);
    recipients.push(recipients[0].clone());
    recipients[0]["header"]["kid"] = kid;
    for odd in [json!("x"), json!(7), json!(null), json!(["a"]), json!("y".repeat(5000))] {
        recipients[1]["header"]["kid"] = odd;
        let annotations = &mut descriptor["annotations"];
        let item = json!({
            "protected": jwe["protected"], "iv": jwe["iv"], "ciphertext": jwe["ciphertext"],
            "tag": jwe["tag"], "recipients": recipients,
        });
        annotations["org.opencontainers.image.enc.keys.jwe"] =
            base64(item.to_string().as_bytes()).into();
        let (opened, _) = search(&payload(&descriptor), &ring);
        assert_eq!(opened.unwrap().by.name, "2.jwk");
    }
}

#[test]
fn too_much_work_says_so_and_is_told_apart() {
    let keys = Keys::new(201);
    let ring = ring_of(&keys, 0..200);
    let others = (0..80).map(|_| keys.public(200));
    let (mut descriptor, mut jwe) = layer_for(others);
    for recipient in jwe["recipients"].as_array_mut().unwrap() {
        recipient["header"] = json!({ "alg": "RSA-OAEP" });
    }
    descriptor["annotations"]["org.opencontainers.image.enc.keys.jwe"] =
        base64(jwe.to_string().as_bytes()).into();
    let mut bounds = Bounds { budget: Budget::new(100 * OPERATION), ..Bounds::default() };
    let payload = payload(&descriptor);
    let error = unwrap_within(&payload, &ring, &mut NoBroker, &mut bounds, &mut SysRng);
    let error = error.err().unwrap();
    assert!(error.is_undecided(), "{error}");
    assert!(error.to_string().contains("too much work: gave up before every key"), "{error}");
    let (error, _) = search(&payload, &ring_of(&keys, 0..1));
    assert!(!error.err().unwrap().is_undecided());
}

/// To find primes takes longer than an operation: it is not done before it has to be.
#[test]
fn keys_without_primes_are_opened_last_and_paid_for() {
    let keys = Keys::new(225);
    let mut ring = KeyRing::new();
    for index in 0..224 {
        ring.add_file(&format!("{index:03}.jwk"), &keys.without_primes(index));
    }
    ring.add_file("224.jwk", &keys.private(224));
    let (descriptor, _) = layer_for([keys.public(224)].into_iter());
    let (opened, cost) = search(&payload(&descriptor), &ring);
    assert_eq!(opened.unwrap().by.name, "224.jwk");
    assert!(cost < 3 * OPERATION, "{cost}");
    assert_eq!((ring.candidates(), ring.skipped_so_far().len()), (225, 0));

    let (descriptor, _) = layer_for([keys.public(3)].into_iter());
    let (opened, cost) = search(&payload(&descriptor), &ring);
    assert_eq!(opened.unwrap().by.name, "003.jwk");
    assert!((4 * 3 * OPERATION..4 * 10 * OPERATION).contains(&cost), "{cost}");
}

/// A content is decrypted for every recipient whose key fits, and for every key with PKCS#1 v1.5.
#[test]
fn content_is_paid_for_by_its_length() {
    let keys = Keys::new(2);
    let ring = ring_of(&keys, 0..1);
    let (mut descriptor, mut jwe) = layer_for((0..20).map(|_| keys.public(0)));
    let cost = |length: usize, descriptor: &mut Value, jwe: &mut Value| {
        jwe["ciphertext"] = Base64UrlUnpadded::encode_string(&vec![7; length]).into();
        descriptor["annotations"]["org.opencontainers.image.enc.keys.jwe"] =
            base64(jwe.to_string().as_bytes()).into();
        let (opened, cost) = search(&payload(descriptor), &ring);
        assert!(opened.is_err());
        cost
    };
    let short = cost(1000, &mut descriptor, &mut jwe);
    let long = cost(1_001_000, &mut descriptor, &mut jwe);
    // At 5 ns a byte at least, for 20 recipients.
    assert!(long - short > 20 * 1_000_000 * 5, "{short} {long}");
}
