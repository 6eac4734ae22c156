//! OpenPGP messages and keys that must not open anything: what is not encrypted or not protected,
//! damage of every kind, and more work than a layer is worth.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::pgp::{case, descriptor, json, key, message, open, open_with, payload_with, ring_of};
use common::{data, json_data, payload};
use getrandom::SysRng;
use ocicrypt::keyring::{KeyRing, SkipReason};
use ocicrypt::pgp::{KeyFileError, PgpError, PgpMessage};
use ocicrypt::unwrap::{Outcome, UnwrapError, unwrap};

const KEY: &str = "cv25519.gpg";

fn good() -> Vec<u8> {
    case("key cv25519")
}

fn plaintext() -> Vec<u8> {
    json_data("jwe.json")["plaintext"].as_str().unwrap().as_bytes().to_vec()
}

fn error_of(message: &[u8], file: &str) -> PgpError {
    match open(message, &key(file), None) {
        Ok(_) => panic!("opened"),
        Err(mut errors) => errors.remove(0),
    }
}

/// The packets of a message of GnuPG: the headers are one byte, and one or two of length.
fn packets(message: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = message;
    let mut packets = Vec::new();
    while let [header, first, second, ..] = rest {
        let length = match (header, first) {
            (0xc0.., 0..192) => 2 + usize::from(*first),
            (0xc0.., _) => 3 + (usize::from(*first) - 192) * 256 + usize::from(*second) + 192,
            (_, first) if header & 3 == 0 => 2 + usize::from(*first),
            _ => 3 + usize::from(*first) * 256 + usize::from(*second),
        };
        let (packet, after) = rest.split_at(length);
        packets.push(packet.to_vec());
        rest = after;
    }
    packets
}

#[test]
fn the_base_of_these_tests_is_good() {
    assert_eq!(open(&good(), &key(KEY), None).unwrap(), plaintext());
    assert_eq!(packets(&good()).len(), 2);
}

/// Go ctd-decoder takes these for wrapped keys, with any key ring.
#[test]
fn what_is_not_encrypted_is_never_a_key() {
    for (name, text) in json("gnupg")["unencrypted"].as_object().unwrap() {
        let error = error_of(&message(text), KEY);
        assert_eq!(error, PgpError::NotEncrypted, "{name}");
        let payload = payload_with(&descriptor(&[message(text)]), &key(KEY), None);
        assert!(unwrap(&payload, &ring_of(&key(KEY), None), &mut SysRng).is_err(), "{name}");
    }
    // Nor after a recipient, or before.
    let literal = message(&json("gnupg")["unencrypted"]["literal"]);
    let [recipient, sealed] = &packets(&good())[..] else { panic!() };
    let error = error_of(&[recipient, &literal[..]].concat(), KEY);
    assert_eq!(error, PgpError::NotEncrypted);
    assert_eq!(error_of(&[&literal[..], recipient, sealed].concat(), KEY), PgpError::NotEncrypted);
    // What follows the encrypted data is not looked at.
    let opened = open(&[recipient, sealed, &literal[..]].concat(), &key(KEY), None);
    assert_eq!(opened.unwrap(), plaintext());
}

#[test]
fn what_is_not_protected() {
    let sed = message(&json("gnupg")["refused"]["rfc2440"]);
    assert_eq!(error_of(&sed, "rsa-2048.gpg"), PgpError::NotProtected);
    // The same data under the header of the unprotected packet.
    let [recipient, sealed] = &packets(&good())[..] else { panic!() };
    let mut sed = sealed.clone();
    sed[0] = 0xc0 | 9;
    assert_eq!(error_of(&[recipient, &sed[..]].concat(), KEY), PgpError::NotProtected);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (program, case, file, name) in [
        ("gnupg", "IDEA", KEY, "IDEA"),
        ("gnupg", "BLOWFISH", KEY, "Blowfish"),
        ("gnupg", "TWOFISH", KEY, "Twofish"),
        ("gnupg", "CAMELLIA256", KEY, "Camellia"),
        ("gnupg", "bzip2", KEY, "bzip2"),
        ("rpgp", "EAX", "rpgp-v6-x25519.gpg", "EAX"),
    ] {
        let error = error_of(&message(&json(program)["refused"][case]), file);
        assert!(error.to_string().ends_with(&format!(" {name} is not supported")), "{error}");
    }
    for (file, name) in [("rpgp-x448.gpg", "X448"), ("rpgp-argon2.gpg", "Argon2")] {
        let mut ring = KeyRing::new();
        ring.add_file(file, &key(file));
        assert_eq!((ring.pgp_keys().count(), ring.skipped().len()), (0, 1), "{file}");
        assert!(ring.skipped()[0].to_string().contains(name), "{}", ring.skipped()[0]);
    }
    let error = error_of(&message(&json("gnupg")["password"]), KEY);
    assert_eq!(error, PgpError::Malformed("there is no recipient with a key"));
}

/// Every bit of a message, and every length: nothing but the right content ever comes out, and
/// what is protected never with a change.
#[test]
fn every_flipped_bit_and_every_truncation() {
    let rpgp = json("rpgp")["cases"].as_array().unwrap().clone();
    let of =
        |name: &str| message(&rpgp.iter().find(|case| case["name"] == name).unwrap()["message"]);
    for (message, file) in [
        (good(), KEY),
        (case("rfc4880 pipe"), "rsa-2048.gpg"),
        (case("ElGamal"), "elgamal.gpg"),
        (case("hidden recipient cv25519"), KEY),
        (of("version 2 AES256 Ocb rpgp-v6-x25519"), "rpgp-v6-x25519.gpg"),
        (of("version 2 AES256 Gcm rpgp-v6-x25519 hidden, small chunks"), "rpgp-v6-x25519.gpg"),
        (of("version 1 rpgp-v4-x25519"), "rpgp-v4-x25519.gpg"),
    ] {
        let ring = ring_of(&key(file), None);
        assert_eq!(open_with(&message, &ring).unwrap(), plaintext());
        // An RSA operation each is too much for every bit.
        let step = if file.starts_with("rsa") { 7 } else { 1 };
        let mut opened = 0;
        for bit in (0..message.len() * 8).step_by(step) {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(plain) = open_with(&changed, &ring) {
                assert_eq!(plain, plaintext(), "{file} bit {bit}");
                opened += 1;
            }
        }
        // The length of a number in bits, the date of nothing: a handful tells nothing.
        assert!(opened < 64, "{file}: {opened}");
        for length in 0..message.len() {
            assert!(open_with(&message[..length], &ring).is_err(), "{file} length {length}");
        }
    }
}

/// Keys that are damaged never panic, and never open anything else.
#[test]
fn damaged_keys() {
    for (file, password) in [
        (KEY, None),
        ("p-256.gpg", None),
        ("cv25519.locked.gpg", Some(&b"secret"[..])),
        ("rpgp-v6-x25519.gpg", None),
        ("rpgp-locked-v6-ocb.gpg", Some(b"secret")),
    ] {
        let (bytes, message) = (key(file), good());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // A bit of the count makes it 65,011,712 times.
            if password.is_some() && bit % 8 != 0 {
                continue;
            }
            if let Ok(plain) = open(&message, &changed, password) {
                assert_eq!(plain, plaintext(), "{file} bit {bit}");
            }
        }
        for length in 0..bytes.len() {
            let _ = open(&message, &bytes[..length], password);
        }
    }
}

#[test]
fn passwords() {
    for (file, name) in [
        ("cv25519.locked", "key cv25519.locked"),
        ("old.locked.salted-sum", "key old.locked.salted-sum"),
    ] {
        let (bytes, message) = (key(&format!("{file}.gpg")), case(name));
        assert!(open(&message, &bytes, Some(b"secret")).is_ok(), "{file}");
        let wrong = open(&message, &bytes, Some(b"secreT")).unwrap_err();
        assert!(matches!(wrong[..], [PgpError::WrongPassword(_)]), "{wrong:?}");
        let none = open(&message, &bytes, None).unwrap_err();
        assert!(matches!(none[..], [PgpError::Locked(_)]), "{none:?}");
    }
    // The message is for another key: the locked one is not touched.
    let errors = open(&good(), &key("rsa-2048.locked.gpg"), None).unwrap_err();
    assert!(matches!(errors[..], [PgpError::OtherKeys(_)]), "{errors:?}");
}

#[test]
fn files_that_hold_no_openpgp_key() {
    for (file, reason) in [
        ("public.gpg", KeyFileError::PublicKey),
        ("public.asc", KeyFileError::PublicKey),
        ("ed25519.gpg", KeyFileError::NoneDecrypts),
    ] {
        let mut ring = KeyRing::new();
        ring.add_file(file, &key(file));
        assert_eq!(ring.pgp_keys().count(), 0);
        assert_eq!(ring.skipped()[0].reason, SkipReason::OpenPgp(reason), "{file}");
    }
    for name in ["rsa-2048.pkcs8.pem", "p-256.sec1.der", "set.jwks", "several.pem"] {
        let mut ring = KeyRing::new();
        ring.add_file(name, &data(&format!("keys/{name}")));
        assert!(ring.pgp_keys().count() == 0 && !ring.is_empty(), "{name}");
    }
    // Both in one file.
    let both = [key("cv25519.asc"), data("keys/p-256.pkcs8.pem"), key("p-256.asc")].concat();
    let mut ring = KeyRing::new();
    ring.add_file("both", &both);
    ring.add_file("again", &key(KEY));
    assert_eq!((ring.pgp_keys().count(), ring.len()), (2, 1));
    assert_eq!(ring.skipped().len(), 1);
    assert_eq!(ring.skipped()[0].reason, SkipReason::SameKey("both".to_owned()));
}

#[test]
fn bombs() {
    let refused = json("gnupg")["refused"].clone();
    assert_eq!(error_of(&message(&refused["bomb"]), KEY), PgpError::Compression);
    let large = open(&message(&json("gnupg")["large"]), &key(KEY), None).unwrap();
    assert!(large.len() > 200_000);
    // Lengths that promise more than there is.
    for header in [&[0xd2, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0xd2, 0xfe], &[0xca, 0xff, 0x7f]] {
        assert!(matches!(error_of(header, KEY), PgpError::Malformed(_)), "{header:x?}");
    }
    // A packet in a million pieces, and a million packets.
    let started = Instant::now();
    let pieces = [&[0xd2][..], &[0xe0, 1].repeat(500_000), &[0]].concat();
    assert!(PgpMessage::parse(&pieces).is_ok());
    let markers = b"\xca\x03PGP".repeat(200_000);
    assert!(PgpMessage::parse(&markers).is_err());
    // Very many packets in pieces, where a key file may have anything.
    let literals = [key("public.gpg"), [0xcb, 0xe0, 1, 0].repeat(250_000)].concat();
    let mut ring = KeyRing::new();
    ring.add_file("literals", &literals);
    ring.add_file("lines", &b"-----BEGIN PGP X-----\n".repeat(45_000));
    ring.add_file("blocks", &b"-----BEGIN PGP X-----\n-----END PGP X-----\n".repeat(25_000));
    assert_eq!(ring.pgp_keys().count(), 0);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// The key ID may be anyone's: recipients that only look like ours do not spoil the real one.
#[test]
fn many_blocks_in_a_large_file_cost_what_they_hold() {
    let block =
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n";
    let good = String::from_utf8(key("cv25519.asc")).unwrap();
    let file = block.repeat(900) + &good + &"words around them\n".repeat(24 << 16);
    let started = Instant::now();
    let ring = ring_of(file.as_bytes(), None);
    assert_eq!(ring.pgp_keys().count(), 1);
    assert_eq!(ring.skipped().len(), 900);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn hostile_recipients_come_first() {
    let [recipient, sealed] = &packets(&good())[..] else { panic!() };
    let mut unknown = recipient.clone();
    unknown[11] = 99; // the algorithm
    let mut point = recipient.clone();
    point[20] ^= 1; // the ephemeral key
    let other = packets(&case("text")).remove(0); // a session key of another message
    let version = [&[0xc1, 1][..], &[9]].concat();
    for first in [&unknown, &point, &other, &version, &vec![0xc1, 0]] {
        let message = [first, recipient, sealed].into_iter().flatten().copied();
        let opened = open(&message.collect::<Vec<_>>(), &key(KEY), None);
        assert_eq!(opened.unwrap(), plaintext(), "{first:x?}");
    }
}

#[test]
fn thousands_of_hostile_recipients_are_bounded() {
    let started = Instant::now();
    let [recipient, sealed] = &packets(&case("key rsa-2048"))[..] else { panic!() };
    let mut message = Vec::new();
    for number in 0..2000u32 {
        let mut hostile = recipient.clone();
        hostile[40..44].copy_from_slice(&number.to_be_bytes());
        message.extend(hostile);
    }
    message.extend(recipient.iter().chain(sealed));
    assert_eq!(open(&message, &key("rsa-2048.gpg"), None).unwrap(), plaintext());
    // The same one costs once.
    let mut hostile = recipient.clone();
    hostile[40] ^= 1;
    let message = [hostile.repeat(20_000), recipient.clone(), sealed.clone()].concat();
    assert_eq!(open(&message, &key("rsa-2048.gpg"), None).unwrap(), plaintext());
    // Data of a megabyte for each of them is too much in the end.
    let mut message = Vec::new();
    for number in 0..20_000u32 {
        let mut hostile = recipient.clone();
        hostile[40..44].copy_from_slice(&number.to_be_bytes());
        message.extend(hostile);
    }
    message.extend([&[0xd2, 0xff, 0, 0x10, 0, 0, 1][..], &vec![7; 0x10_0000]].concat());
    let errors = open(&message, &key("rsa-2048.gpg"), None).unwrap_err();
    assert!(errors.contains(&PgpError::TooMuchWork), "{errors:?}");
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
}

#[test]
fn failures_are_told_once_with_the_keys() {
    let messages = vec![
        case("key rsa-4096"),
        vec![1, 2, 3],
        message(&json("gnupg")["unencrypted"]["literal"]),
    ];
    let Err(UnwrapError::NoKeyOpened { failures }) =
        unwrap(&payload(&descriptor(&messages)), &ring_of(&key(KEY), None), &mut SysRng)
    else {
        panic!("opened");
    };
    assert_eq!((failures.len(), failures[0].wrapped), (1, 3));
    let text = failures[0].to_string();
    assert!(
        text.starts_with("pgp: 3 wrapped keys, the only OpenPGP key was not tried; "),
        "{text}"
    );
    assert!(text.contains("item 1: it is for other keys ("), "{text}");
    assert!(text.contains("item 3: it is not encrypted"), "{text}");
    // A key that was tried is named with its fingerprint.
    let [mut recipient, sealed] = packets(&good()).try_into().unwrap();
    recipient[20] ^= 1;
    let payload = payload(&descriptor(&[[recipient, sealed].concat()]));
    let error = unwrap(&payload, &ring_of(&key(KEY), None), &mut SysRng).err().unwrap();
    let fingerprint = &json_data("pgp/keys/fingerprints.json")["cv25519"][1];
    let wanted = format!(
        "1 key was tried: Curve25519 `gpg-privatekeys[0]` (OpenPGP {}); item 1: wrong key",
        fingerprint.as_str().unwrap()
    );
    assert!(error.to_string().contains(&wanted), "{error}");
    // Without any OpenPGP key.
    let mut ring = KeyRing::new();
    ring.add_file("other.pem", &data("keys/p-256.pkcs8.pem"));
    let Err(UnwrapError::NoKeyOpened { failures }) = unwrap(&payload, &ring, &mut SysRng) else {
        panic!("opened");
    };
    assert_eq!(failures[0].outcome, Outcome::NoKeys);
}
