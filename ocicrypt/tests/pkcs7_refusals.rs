//! PKCS#7 that must not open: damage of every kind, bombs, and more work than a layer is worth;
//! and certificates, good and bad.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::pkcs7::{
    certificate, descriptor, is_the_key, message, messages, named_only, open_any, ring,
};
use common::{any, base64, data, key_file, payload};
use getrandom::SysRng;
use ocicrypt::keyring::KeyRing;
use ocicrypt::keys::{NotAKey, PrivateKey};
use ocicrypt::payload::Payload;
use ocicrypt::pkcs7::{Certificate, Envelope, Pkcs7Error};
use ocicrypt::unwrap::{Outcome, UnwrapError, unwrap};
use serde_json::json;

const KEY: &str = "rsa-2048";

/// The reasons that are told of these wrapped keys, and how many keys were tried.
fn reasons(messages: &[impl AsRef<[u8]>], ring: &KeyRing) -> (Vec<(String, usize)>, usize) {
    let Err(UnwrapError::NoKeyOpened { failures }) =
        unwrap(&payload(&descriptor(messages)), ring, &mut SysRng)
    else {
        panic!("opened");
    };
    let Outcome::Tried { reasons, tried, .. } = &failures[0].outcome else { panic!() };
    let reasons = reasons.iter().map(|(reason, items)| (reason.to_string(), items.len()));
    (reasons.collect(), *tried)
}

/// All that is authenticated: what opens is the same, however the rest was changed.
#[test]
fn every_byte_of_an_authentic_message_changed() {
    let ring = ring(&[KEY, &certificate(KEY)]);
    let plaintext = messages().plaintext;
    for name in ["aes-256-gcm DER", "attributes in BER", "Go's form, AES-128-GCM"] {
        let good = message(name);
        let mut opened = 0;
        for position in 0..good.len() {
            let mut changed = good.clone();
            changed[position] ^= 1 << (position % 8);
            if let Ok(text) = open_any(&changed, &ring) {
                assert_eq!(text, plaintext.as_bytes(), "{name}, byte {position}");
                opened += 1;
            }
        }
        // The version, and the names of the certificate, which every key is tried without.
        assert!(opened < 120, "{name}: {opened}");
    }
}

/// CBC is not authenticated: its bits can be changed. What comes of it is a layer key that is not
/// the right one, and whether there was padding or text does not show.
#[test]
fn every_byte_of_a_message_in_cbc_changed() {
    let ring = ring(&["rsa-1024", &certificate("rsa-1024")]);
    let good = message("rsa-1024");
    let cipher = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
    let cipher = good.windows(9).position(|window| window == cipher).unwrap();
    let (mut other_keys, mut refused) = (0, Vec::new());
    for position in 0..good.len() {
        for change in [1, 0x10, 0x80] {
            let mut changed = good.clone();
            changed[position] ^= change;
            match unwrap(&payload(&descriptor(&[changed])), &ring, &mut SysRng) {
                Ok(key) => other_keys += usize::from(!is_the_key(&key)),
                Err(error) => refused.push((position, error.to_string())),
            }
        }
    }
    // All of the wrapped key, the vector and the content: 128, 16 and at least 176 bytes.
    assert!(other_keys > 3 * 300, "{other_keys}");
    for (position, error) in refused {
        // The form alone, which everyone sees, decides.
        assert!(position < cipher + 13 || position < good.len() - 176, "{position}: {error}");
        assert!(!error.contains("wrong key, or altered"), "{position}: {error}");
    }
}

#[test]
fn every_truncation() {
    let ring = ring(&[KEY, &certificate(KEY)]);
    for name in ["aes-256-gcm DER", "attributes in BER", "aes-128-gcm BER", "pieces"] {
        let good = message(name);
        for length in (0..good.len()).step_by(if good.len() > 2000 { 37 } else { 1 }) {
            assert!(Envelope::parse(&good[..length]).is_err(), "{name}: {length}");
        }
        // What follows is nobody's business.
        assert!(named_only(&[&good[..], b"\n\0"].concat(), &ring).is_ok());
    }
}

/// An element with a length of three bytes.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = (content.len() as u32).to_be_bytes();
    [&[tag, 0x83], &length[1..], &content].concat()
}

#[test]
fn bombs() {
    let malformed = |bytes: &[u8]| matches!(Envelope::parse(bytes), Err(Pkcs7Error::Malformed(_)));
    assert!(malformed(b""));
    assert!(malformed(b"0"));
    assert!(malformed(&[0x30, 0x80].repeat(500_000)));
    assert!(malformed(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]));
    assert!(malformed(&[&[0x30, 0x88][..], &[0xff; 8]].concat()));
    assert!(malformed(&(0..1000).fold(vec![4, 0], |inner, _| der(0x30, &[&inner]))));
    assert!(malformed(&der(0x30, &[&[5, 0].repeat(500_000)])));
    for bytes in [&[0x30, 0x80].repeat(500_000)[..], &[0x30; 100_000], &[0xff; 100_000]] {
        assert!(Certificate::parse(bytes).is_none());
    }
    // A recipient each that is none.
    let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
    let set = der(0x31, &[&[4, 0].repeat(200_000)]);
    let data = der(0x30, &[&[2, 1, 0], &set]);
    assert!(malformed(&der(0x30, &[&oid, &der(0xa0, &[&data])])));
    // And content that is longer than any private options.
    let good = message("Go's form, AES-128-GCM");
    let long = with_content(&good, &vec![0; 70_000]);
    let error = Envelope::parse(&long).err().unwrap();
    assert_eq!(error.to_string(), "malformed: the content is longer than 64 KiB");
    assert!(Envelope::parse(&with_content(&good, &[0; 15])).is_err());
    assert!(Envelope::parse(&with_content(&good, &[0; 16])).is_ok());
}

/// The message in Go's form with another content; its elements are those of [`parts`].
fn with_content(message: &[u8], content: &[u8]) -> Vec<u8> {
    let (recipients, info) = parts(message);
    let algorithm = &info[..info.len() - element(&info, b"\xa0").len()];
    rebuild(&recipients, &[algorithm, &der(0xa0, &[&der(4, &[content])])].concat())
}

/// The recipients of a message in Go's form, and the inside of its content info.
fn parts(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let content_info = inside(message);
    let (_, rest) = split(content_info);
    let data = inside(inside(rest));
    let (_version, rest) = split(data);
    let (recipients, info) = split(rest);
    (inside(recipients).to_vec(), inside(info).to_vec())
}

fn rebuild(recipients: &[u8], info: &[u8]) -> Vec<u8> {
    let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
    let data = der(0x30, &[&[2, 1, 0], &der(0x31, &[recipients]), &der(0x30, &[info])]);
    der(0x30, &[&oid, &der(0xa0, &[&data])])
}

/// The last element, which has this tag.
fn element<'a>(elements: &'a [u8], tag: &[u8]) -> &'a [u8] {
    let mut rest = elements;
    while !rest.starts_with(tag) {
        rest = split(rest).1;
    }
    rest
}

/// The first element and the rest.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let size = inside(bytes).as_ptr() as usize - bytes.as_ptr() as usize + inside(bytes).len();
    bytes.split_at(size)
}

fn inside(bytes: &[u8]) -> &[u8] {
    let (start, length) = match bytes[1] {
        0x81 => (3, bytes[2] as usize),
        0x82 => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
        short => (2, usize::from(short)),
    };
    &bytes[start..start + length]
}

/// The recipient of a message with one, with a wrapped key that is garbage.
fn garbage(recipient: &[u8], seed: u32) -> Vec<u8> {
    let mut bad = recipient.to_vec();
    let length = bad.len();
    // Below every modulus, and the end of it.
    bad[length - 256] = 0x1f;
    bad[length - 4..].copy_from_slice(&seed.to_be_bytes());
    bad
}

#[test]
fn thousands_of_hostile_recipients_before_the_good_one() {
    let good = message("Go's form, AES-256-GCM");
    let (recipient, info) = parts(&good);
    let hostile: Vec<_> = (0..1500).map(|seed| garbage(&recipient, seed)).collect();
    let ring = ring(&["rsa-e3", KEY, &certificate(KEY)]);
    let started = Instant::now();
    let message = rebuild(&[hostile.concat(), recipient].concat(), &info);
    assert!(named_only(&message, &ring).is_ok());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn the_same_bad_recipient_costs_once() {
    let (recipient, info) = parts(&message("Go's form, AES-256-GCM"));
    let bad = garbage(&recipient, 1);
    let ring = ring(&[KEY, "rsa-e3", &certificate(KEY)]);
    let started = Instant::now();
    // A long content, which is not decrypted once for every recipient either.
    let long = [
        &info[..info.len() - element(&info, b"\xa0").len()],
        &der(0xa0, &[&der(4, &[&[0; 65_000]])]),
    ]
    .concat();
    let recipients = rebuild(&bad.repeat(8000), &long);
    let items = vec![rebuild(&bad, &info); 8000];
    let (told, tried) = reasons(&[items, vec![recipients]].concat(), &ring);
    assert_eq!(told, [("wrong key, or altered".to_owned(), 8001)]);
    assert_eq!(tried, 2);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// Whoever knows the certificate can copy the good recipient to another content.
#[test]
fn a_copied_recipient_does_not_use_up_the_work() {
    let good = message("Go's form, AES-256-GCM");
    let mut items: Vec<_> = (0..10_000u32)
        .map(|seed| with_content(&good, &[&[0; 16][..], &seed.to_be_bytes()].concat()))
        .collect();
    items.push(good);
    let ring = ring(&[KEY, &certificate(KEY)]);
    assert!(is_the_key(&unwrap(&payload(&descriptor(&items)), &ring, &mut SysRng).unwrap()));
}

#[test]
fn work_is_bounded() {
    let (recipient, info) = parts(&message("Go's form, AES-256-GCM"));
    // Above the modulus: counted as work, but none, so that this test is quick.
    let mut recipient = recipient;
    let hostile = (0..13_000).map(|seed| {
        recipient = garbage(&recipient, seed);
        let start = recipient.len() - 256;
        recipient[start] = 0xff;
        recipient.clone()
    });
    let hostile: Vec<_> = hostile.collect();
    let items: Vec<_> = hostile.iter().map(|bad| rebuild(bad, &info)).collect();
    let started = Instant::now();
    let (told, _) = reasons(&items, &ring(&[KEY]));
    assert!(told.iter().any(|(reason, _)| reason.starts_with("too much work")), "{told:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// Bad padding, a wrapped key of the wrong length, another key, and a content key that does not
/// fit: one text for all, with or without a certificate.
#[test]
fn a_wrong_key_looks_like_bad_padding() {
    let mut negative = messages().negative;
    let bad: Vec<_> = ["bad padding", "wrong length", "wrong content key"]
        .map(|name| negative.remove(name).unwrap())
        .into();
    let wanted = [("wrong key, or altered".to_owned(), 1)];
    let right = message("attributes");
    for ring in [ring(&[KEY, &certificate(KEY)]), ring(&[KEY])] {
        for message in &bad {
            assert_eq!(reasons(&[message], &ring), (wanted.to_vec(), 1));
        }
    }
    assert_eq!(reasons(&[right], &ring(&["rsa-e3"])), (wanted.to_vec(), 1));
    // Where padding alone could tell, nothing is refused at all.
    for name in ["aes-256-cbc DER", "aes-128-cbc BER", "des-cbc DER"] {
        let layer = payload(&descriptor(&[message(name)]));
        let key = unwrap(&layer, &ring(&["rsa-e3"]), &mut SysRng).unwrap();
        assert!(!is_the_key(&key), "{name}");
    }
}

#[test]
fn messages_tell_of_certificates() {
    let told = |names: &[&str]| {
        let layer = payload(&descriptor(&[message("aes-128-gcm DER")]));
        unwrap(&layer, &ring(names), &mut SysRng).err().unwrap().to_string()
    };
    let start = "no wrapped key could be opened: pkcs7: 1 wrapped key, ";
    assert_eq!(told(&[]), format!("{start}but there is no private key"));
    assert_eq!(told(&[&certificate(KEY)]), format!("{start}but there is no private key"));
    let none = "the only key was not tried, without a certificate";
    let wanted = format!("{start}{none}; item 1: no key of this kind (RSA-2048)");
    assert_eq!(told(&["p-256"]), wanted);
    let wrong = told(&["rsa-e3", "bundle.pem"]);
    let tried = format!("{start}1 key was tried: RSA-2048 `rsa-e3` (SHA256:");
    assert!(wrong.starts_with(&tried), "{wrong}");
    assert!(wrong.ends_with("), with 3 certificates; item 1: wrong key, or altered"), "{wrong}");
}

#[test]
fn certificates_are_found_in_every_form() {
    let key = PrivateKey::parse(&key_file("rsa-2048.pkcs8.pem"), None).keys.remove(0);
    for (name, count, at) in
        [("rsa-2048.cert.pem", 1, 0), ("rsa-2048.cert.der", 1, 0), ("bundle.pem", 3, 2)]
    {
        let parsed = PrivateKey::parse(&data(&format!("pkcs7/{name}")), None);
        assert_eq!((parsed.certificates.len(), parsed.refused.len()), (count, 0), "{name}");
        assert_eq!(parsed.certificates[at].public_key(), key.fingerprint(), "{name}");
    }
    // With a key in the same file, and as parameters of the payload.
    let both = [key_file("rsa-2048.pkcs8.pem"), data("pkcs7/rsa-2048.cert.pem")].concat();
    let mut ring = KeyRing::new();
    ring.add_file("both.pem", &both);
    assert_eq!((ring.len(), ring.certificates().len()), (1, 1));
    assert!(named_only(&message("aes-256-gcm by key identifier"), &ring).is_ok());
    let value = json!({ "DecryptConfig": { "Parameters": {
        "privkeys": [base64(&key_file("rsa-2048.pkcs8.der"))],
        "x509s": [null, base64(b"?"), base64(&data("pkcs7/bundle.pem"))],
    } } });
    let mut ring = KeyRing::new();
    ring.add_parameters(&Payload::parse(&any(&value)).unwrap().parameters);
    assert_eq!((ring.len(), ring.certificates().len()), (1, 3));
    assert_eq!(ring.skipped()[0].name, "x509s[1]");
    assert!(named_only(&message("aes-256-gcm BER"), &ring).is_ok());
}

#[test]
fn certificates_that_are_none() {
    let parsed = PrivateKey::parse(&data("pkcs7/request.pem"), None);
    assert_eq!(parsed.refused, [NotAKey::OtherPem("CERTIFICATE REQUEST".to_owned())]);
    let good = data("pkcs7/rsa-2048.cert.der");
    for position in 0..good.len() {
        for change in [1, 0x20, 0x80] {
            let mut changed = good.clone();
            changed[position] ^= change;
            let parsed = PrivateKey::parse(&changed, None);
            assert!(parsed.keys.is_empty());
        }
        assert!(Certificate::parse(&good[..position]).is_none());
    }
}

/// A renewed certificate, or that of another key, does not keep the right key from being tried.
#[test]
fn another_certificate_does_not_lock_out() {
    for certificates in [&["renewed.cert.pem"][..], &["rsa-3072.cert.pem", "bundle.pem"], &[]] {
        let ring = ring(&[&["rsa-3072", KEY], certificates].concat());
        for name in ["aes-128-gcm by key identifier", "aes-128-gcm DER"] {
            assert!(open_any(&message(name), &ring).is_ok(), "{certificates:?}");
        }
        for name in ["aes-128-cbc by key identifier", "aes-128-cbc DER"] {
            let layer = payload(&descriptor(&[message(name)]));
            assert!(is_the_key(&unwrap(&layer, &ring, &mut SysRng).unwrap()), "{certificates:?}");
        }
    }
}
