//! Who is no recipient, and why.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use getrandom::SysRng;
use ocicrypt::annotation::{PUBLIC_OPTIONS, Scheme};
use ocicrypt::encrypt::{
    self, EncryptError, Pkcs11Hash, PublicKeyError, Recipient, RecipientError,
};
use ocicrypt::hazmat;
use ocicrypt::keys::{OaepHash, PrivateKey};
use ocicrypt::layer::{Encryptor, LayerKey};
use ocicrypt::pgp::{PgpRecipientError, PgpSelector, Unusable};

use common::pgp::at;
use common::{data, json_data, key_file};

fn layer_key() -> LayerKey {
    let mut encryptor = Encryptor::new(&mut SysRng).unwrap();
    encryptor.update(&mut [7; 100]);
    encryptor.finish()
}

fn jwe(file: &str) -> Result<Recipient, RecipientError> {
    Recipient::jwe(&data(file))
}

#[test]
fn no_public_key() {
    use PublicKeyError::*;
    let other = |name: &str| OtherKind(name.to_owned());
    for (file, wanted) in [
        ("keys/rsa-2048.pkcs8.pem", PrivateKey),
        ("keys/rsa-2048.pkcs8.der", PrivateKey),
        ("keys/rsa-2048.pkcs1.der", PrivateKey),
        ("keys/p-256.sec1-params.pem", PrivateKey),
        ("keys/p-256.jwk", PrivateKey),
        ("keys/encrypted.pkcs8.pem", PrivateKey),
        ("keys/certificate.pem", Certificate),
        ("keys/certificate.der", Certificate),
        ("keys/container.p12", Unknown),
        ("encrypt/rsa-1024.pub.pem", RsaSize(1024)),
        ("encrypt/rsa-pss.pub.pem", other("1.2.840.113549.1.1.10")),
        ("encrypt/secp256k1.pub.pem", OtherCurve),
        ("encrypt/x25519.pub.pem", other("X25519")),
        ("encrypt/make.py", Unknown),
        ("pkcs7/request.pem", OtherPem("CERTIFICATE REQUEST".to_owned())),
    ] {
        assert_eq!(jwe(file).unwrap_err(), wanted.into(), "{file}");
    }
    for empty in ["", " \n", r#"{"keys":[]}"#] {
        assert_eq!(Recipient::jwe(empty.as_bytes()).unwrap_err(), Empty.into());
    }
    let two = [data("encrypt/p-256.pub.pem"), data("encrypt/p-384.pub.pem")].concat();
    assert_eq!(Recipient::jwe(&two).unwrap_err(), SeveralKeys.into());
}

#[test]
fn damaged_public_keys_never_panic() {
    let files = ["rsa-2048.pub.der", "p-256.pub.der", "rsa-2048.pub.jwk", "p-521.pub.jwk"];
    for file in files.map(|file| format!("encrypt/{file}")) {
        let good = data(&file);
        for length in 0..good.len() - 1 {
            assert!(Recipient::jwe(&good[..length]).is_err(), "{file} {length}");
        }
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x55;
            let _ = Recipient::jwe(&bad);
            let _ = Recipient::pkcs7(&bad);
        }
    }
    // A point that is not on its curve, and one at infinity.
    let mut point = data("encrypt/p-256.pub.der");
    *point.last_mut().unwrap() ^= 1;
    assert_eq!(
        Recipient::jwe(&point).unwrap_err(),
        RecipientError::Key(PublicKeyError::Malformed("elliptic curve point"))
    );
}

#[test]
fn json_web_keys_that_do_not_fit() {
    let text = String::from_utf8(data("encrypt/p-256.pub.jwk")).unwrap();
    let with = |more: &str| Recipient::jwe(text.replacen('{', &format!("{{{more},"), 1).as_bytes());
    assert!(with(r#""alg":"ECDH-ES+A128KW""#).is_ok());
    for alg in ["RSA-OAEP", "ECDH-ES", "A256KW", "RSA1_5", "x`\u{1b}"] {
        let error = with(&format!(r#""alg":{}"#, serde_json::json!(alg))).unwrap_err();
        let RecipientError::Key(PublicKeyError::Algorithm(shown)) = &error else {
            panic!("{error}")
        };
        assert!(!shown.contains(['`', '\u{1b}']), "{shown:?}");
    }
    let malformed = Some(RecipientError::Key(PublicKeyError::Malformed("JWK")));
    assert_eq!(with(r#""kty":"EC""#).err(), malformed, "a member twice");
    assert_eq!(Recipient::jwe(br#"{"crv":"P-256"}"#).err(), malformed);
    assert_eq!(Recipient::jwe(b"{").err(), malformed);
    let short = text.replace("\"x\": \"", "\"x\": \"AAAA");
    assert_ne!(short, text);
    assert_eq!(Recipient::jwe(short.as_bytes()).err(), malformed);
    let set = format!(r#"{{"keys":[{text}]}}"#);
    assert!(Recipient::jwe(set.as_bytes()).is_ok());
    let set = format!(r#"{{"keys":[{text},{text}]}}"#);
    assert_eq!(
        Recipient::jwe(set.as_bytes()).err(),
        Some(RecipientError::Key(PublicKeyError::SeveralKeys))
    );
}

#[test]
fn no_certificate() {
    use PublicKeyError::*;
    for (file, wanted) in [
        ("encrypt/rsa-2048.pub.pem", NoCertificate(Some("PUBLIC KEY".to_owned()))),
        ("encrypt/rsa-2048.pub.der", NoCertificate(None)),
        ("encrypt/p-256.certificate.pem", OtherKind("P-256".to_owned())),
        ("pkcs7/rsa-1024.cert.pem", RsaSize(1024)),
        ("pkcs7/request.pem", NoCertificate(Some("CERTIFICATE REQUEST".to_owned()))),
    ] {
        assert_eq!(Recipient::pkcs7(&data(file)).unwrap_err(), wanted.into(), "{file}");
    }
    assert_eq!(Recipient::pkcs7(b"\n").unwrap_err(), Empty.into());
    let good = data("pkcs7/rsa-2048.cert.der");
    for length in 0..good.len() {
        assert!(Recipient::pkcs7(&good[..length]).is_err(), "{length}");
    }
    // A private key before the certificate is passed over, as in many such files.
    let both = [key_file("rsa-2048.pkcs8.pem"), data("pkcs7/rsa-2048.cert.pem")].concat();
    assert!(Recipient::pkcs7(&both).is_ok());
}

#[test]
fn tokens() {
    let kinds = Recipient::pkcs11(&data("encrypt/p-256.pub.pem"), Pkcs11Hash::Sha1);
    assert_eq!(
        kinds.unwrap_err(),
        RecipientError::Key(PublicKeyError::OtherKind("P-256".to_owned()))
    );
    let key = layer_key();
    let small = data("encrypt/rsa-2048.pub.pem");
    let recipient = [Recipient::pkcs11(&small, Pkcs11Hash::Sha256).unwrap()];
    let error = encrypt::annotations(&key, &recipient, &mut SysRng).unwrap_err();
    let wanted = "the RSA key of 2048 bits is too short for 193 bytes with SHA-256: \
        take a longer key, or SHA-1";
    assert_eq!(error.to_string(), wanted);

    let recipient = [Recipient::pkcs11(&small, Pkcs11Hash::Sha1).unwrap()];
    let annotations = encrypt::annotations(&key, &recipient, &mut SysRng).unwrap();
    let wrapped = from_base64(&annotations[&Scheme::Pkcs11.annotation()]);
    let wrapped: serde_json::Value = serde_json::from_slice(&wrapped).unwrap();
    assert_eq!(wrapped["recipients"][0]["hash"], "sha1");
    let blob = from_base64(wrapped["recipients"][0]["blob"].as_str().unwrap());
    let parsed = PrivateKey::parse(&key_file("rsa-2048.pkcs8.pem"), None);
    let [private] = &parsed.keys[..] else { panic!("one key") };
    let private = private.as_rsa().unwrap();
    let opened =
        hazmat::decrypt_oaep(private, OaepHash::Sha1, OaepHash::Sha1, &blob, &mut SysRng).unwrap();
    assert_eq!(opened, encrypt::private_options(&key));
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64ct::Encoding;
    base64ct::Base64::decode_vec(text).unwrap()
}

#[test]
fn providers() {
    assert!(Recipient::provider("", b"x").is_err());
    assert!(Recipient::provider("vault", b"").is_err());
    let key = layer_key();
    let recipients = [b"one", b"two"].map(|wrapped| Recipient::provider("vault", wrapped).unwrap());
    let annotations = encrypt::annotations(&key, &recipients, &mut SysRng).unwrap();
    assert_eq!(annotations["org.opencontainers.image.enc.keys.provider.vault"], "b25l,dHdv");
    assert_eq!(annotations.len(), 2);
}

#[test]
fn nobody_and_other_layers() {
    let (key, other) = (layer_key(), layer_key());
    let recipients = [jwe("encrypt/p-256.pub.pem").unwrap()];
    let error = encrypt::annotations(&key, &[], &mut SysRng).unwrap_err();
    assert!(matches!(error, EncryptError::NoRecipients));
    let annotations = encrypt::annotations(&key, &recipients, &mut SysRng).unwrap();
    let add = |to: &BTreeMap<_, _>, key: &LayerKey| {
        encrypt::add_recipients(to, key, &recipients, &mut SysRng)
    };
    assert!(matches!(add(&annotations, &other), Err(EncryptError::OtherLayer)));
    assert!(matches!(add(&BTreeMap::new(), &key), Err(EncryptError::Options(_))));
    let mut damaged = annotations.clone();
    damaged.insert(PUBLIC_OPTIONS.to_owned(), "%".to_owned());
    assert!(matches!(add(&damaged, &key), Err(EncryptError::Options(_))));
    assert!(add(&annotations, &key).is_ok());
}

fn pgp(name: &str, whom: &str, year: u64) -> Result<Vec<Recipient>, RecipientError> {
    let keys = data(&format!("encrypt/pgp/{name}.gpg"));
    Recipient::pgp(&keys, &whom.parse()?, at(year))
}

/// Why the key `NAME@example.org` of the ring `NAME` is not used.
fn unusable(name: &str, year: u64) -> Unusable {
    match pgp(name, &format!("{name}@example.org"), year).unwrap_err() {
        RecipientError::Pgp(PgpRecipientError::Unusable { reason, .. }) => reason,
        error => panic!("{name}: {error}"),
    }
}

#[test]
fn openpgp_keys_that_are_not_valid() {
    for (name, year, wanted) in [
        ("revoked", 2025, Unusable::Revoked),
        ("subkey-revoked", 2025, Unusable::Revoked),
        ("expired", 2025, Unusable::Expired),
        ("subkey-expired", 2025, Unusable::Expired),
        ("subkey-expired", 2019, Unusable::NotSigned),
        ("sha1", 2025, Unusable::NotSigned),
        ("dsa", 2025, Unusable::Signer),
        ("short", 2025, Unusable::Signer),
        ("signs", 2025, Unusable::NoEncryption),
        ("ed25519", 2030, Unusable::NoEncryption),
        ("elgamal", 2030, Unusable::NoEncryption),
    ] {
        assert_eq!(unusable(name, year), wanted, "{name} in {year}");
    }
    for (name, year) in [("expired", 2020), ("subkey-expired", 2020), ("single", 2025)] {
        assert!(pgp(name, &format!("{name}@example.org"), year).is_ok(), "{name} in {year}");
    }
}

#[test]
fn the_newest_valid_subkey() {
    let known = json_data("encrypt/pgp/fingerprints.json");
    let fingerprint = |index: usize| known["rotated"][index].as_str().unwrap();
    let found = |whom: &str, year: u64| {
        let found = pgp("rotated", whom, year)?;
        let [recipient] = &found[..] else { panic!("{} recipients", found.len()) };
        Ok::<_, RecipientError>(recipient.to_string())
    };
    let name = |index: usize| format!("pgp Curve25519 {}", fingerprint(index));
    assert_eq!(found("rotated@example.org", 2025).unwrap(), name(2));
    assert_eq!(found("rotated", 2025).unwrap(), name(2));
    assert_eq!(found(fingerprint(0), 2025).unwrap(), name(2));
    assert_eq!(found(&format!("0x{}", &fingerprint(0)[24..]), 2025).unwrap(), name(2));
    assert_eq!(found("ROTATED@example.ORG", 2020).unwrap(), name(1));
    // One that is named is meant, and no other.
    assert_eq!(found(fingerprint(2), 2025).unwrap(), name(2));
    for (index, reason) in [(1, Unusable::Expired), (3, Unusable::Revoked)] {
        match found(fingerprint(index), 2025).unwrap_err() {
            RecipientError::Pgp(PgpRecipientError::Unusable { key, reason: found }) => {
                assert_eq!((key.to_string().as_str(), found), (fingerprint(0), reason));
            }
            error => panic!("{error}"),
        }
    }
    let single = pgp("single", "single@example.org", 2025).unwrap();
    assert!(single[0].to_string().ends_with(known["single"][0].as_str().unwrap()));
}

#[test]
fn names_that_are_not_the_keys_own() {
    assert_eq!(
        pgp("renamed", "renamed@example.org", 2025).err(),
        Some(RecipientError::Pgp(PgpRecipientError::NotInKeyRing))
    );
    assert!(pgp("renamed", "another@example.org", 2025).is_ok());
    assert!(pgp("renamed", "Another", 2025).is_ok());
    assert_eq!(
        pgp("renamed", "example.org", 2025).err(),
        Some(RecipientError::Pgp(PgpRecipientError::NotInKeyRing))
    );
    assert_eq!("".parse::<PgpSelector>().err(), Some(PgpRecipientError::Empty));
    assert_eq!(
        pgp("renamed", &"0".repeat(40), 2025).err(),
        Some(RecipientError::Pgp(PgpRecipientError::NotInKeyRing))
    );
}

/// The packets of a ring of small keys.
fn packets(mut ring: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while let Some((header, rest)) = ring.split_first() {
        // GnuPG writes old headers, with lengths of one byte or two.
        let length = match header & 3 {
            0 => 2 + usize::from(rest[0]),
            1 => 3 + usize::from(u16::from_be_bytes([rest[0], rest[1]])),
            other => panic!("a length of kind {other}"),
        };
        let (packet, rest) = ring.split_at(length);
        packets.push(packet);
        ring = rest;
    }
    packets
}

/// Whoever alters a key ring must not get the mail of others, unless the keys are replaced as a
/// whole.
#[test]
fn subkeys_that_are_not_the_keys_own() {
    let (alice, mallory) = (data("encrypt/pgp/cv25519.gpg"), data("encrypt/pgp/rotated.gpg"));
    let (alice, mallory) = (packets(&alice), packets(&mallory));
    assert_eq!(alice.len(), 5);
    let search = |ring: &[&[u8]], whom: &str| {
        Recipient::pgp(&ring.concat(), &whom.parse().unwrap(), at(2030))
    };
    let address = "cv25519@example.org";
    assert!(search(&alice, address).is_ok());
    // Mallory's subkey instead of Alice's, and beside it.
    let (stolen, own) = (&mallory[5..7], search(&alice, address).unwrap()[0].to_string());
    let swapped = [&alice[..3], stolen].concat();
    let refused = RecipientError::Pgp(PgpRecipientError::Unusable {
        key: match search(&swapped, address).unwrap_err() {
            RecipientError::Pgp(PgpRecipientError::Unusable { key, .. }) => key,
            error => panic!("{error}"),
        },
        reason: Unusable::NotSigned,
    });
    assert_eq!(search(&swapped, address).err(), Some(refused));
    let beside = search(&[&alice[..], stolen].concat(), address).unwrap();
    assert_eq!(beside[0].to_string(), own);
    // Alice's name on Mallory's key.
    let named = [&mallory[..1], &alice[1..3], &mallory[1..]].concat();
    let refused = search(&named, address).unwrap_err();
    let not_signed = Unusable::NotSigned;
    assert!(
        matches!(refused, RecipientError::Pgp(PgpRecipientError::Unusable { reason, .. }) if reason == not_signed)
    );
    // Not a single bit may be another, wherever it is: nobody else's key may come of it.
    let ring = alice.concat();
    for index in 0..ring.len() {
        let mut bad = ring.clone();
        bad[index] ^= 0x10;
        if let Ok(found) = Recipient::pgp(&bad, &address.parse().unwrap(), at(2030)) {
            assert_eq!(found[0].to_string(), own, "bit in byte {index}");
        }
        let _ = Recipient::pgp(&ring[..index], &address.parse().unwrap(), at(2030));
    }
}

#[test]
fn rings_that_are_none() {
    let address: PgpSelector = "cv25519@example.org".parse().unwrap();
    let find = |ring: &[u8]| Recipient::pgp(ring, &address, at(2030)).err();
    assert_eq!(find(b""), Some(RecipientError::Pgp(PgpRecipientError::Empty)));
    assert_eq!(find(b"no key"), Some(RecipientError::Pgp(PgpRecipientError::Malformed)));
    assert_eq!(
        find(&data("pgp/keys/cv25519.gpg")),
        Some(RecipientError::Pgp(PgpRecipientError::SecretKey))
    );
    assert_eq!(
        find(&data("pgp/keys/cv25519.asc")),
        Some(RecipientError::Pgp(PgpRecipientError::SecretKey))
    );
    assert_eq!(
        find(b"\0\0\0\x20\x01\x01\0\x02KBXf"),
        Some(RecipientError::Pgp(PgpRecipientError::Keybox))
    );
    assert_eq!(
        find(&data("encrypt/pgp/rsa-2048.gpg")),
        Some(RecipientError::Pgp(PgpRecipientError::NotInKeyRing))
    );
    assert_eq!(find(&data("encrypt/pgp/cv25519.asc")), None);
    let armored = String::from_utf8(data("encrypt/pgp/cv25519.asc")).unwrap();
    let cut = &armored[..armored.len() - 40];
    assert_eq!(find(cut.as_bytes()), Some(RecipientError::Pgp(PgpRecipientError::Malformed)));
}

/// X25519 of RFC 9580, which GnuPG 2.2 does not have: rPGP's secret keys, with the secret cut off.
#[test]
fn new_openpgp_keys() {
    let public = |name: &str, primary: usize, subkey: usize| {
        let (ring, mut public) = (data(&format!("pgp/keys/{name}.gpg")), Vec::new());
        let mut rest = &ring[..];
        while let [tag, length, ..] = *rest {
            assert!(length < 192, "a length of one byte");
            let (packet, after) = rest.split_at(2 + usize::from(length));
            match tag & 0x3f {
                5 => public.extend([&[0xc6, primary as u8], &packet[2..2 + primary]].concat()),
                7 => public.extend([&[0xce, subkey as u8], &packet[2..2 + subkey]].concat()),
                _ => public.extend(packet),
            }
            rest = after;
        }
        public
    };
    let names = json_data("pgp/keys/rpgp-fingerprints.json");
    let find = |name: &str, primary, subkey| {
        let whom = names[name][0].as_str().unwrap().parse().unwrap();
        Recipient::pgp(&public(name, primary, subkey), &whom, at(2030))
    };
    let recipients = find("rpgp-v4-x25519", 51, 38).unwrap();
    let key = layer_key();
    let annotations = encrypt::annotations(&key, &recipients, &mut SysRng).unwrap();
    let message = from_base64(&annotations[&Scheme::Pgp.annotation()]);
    let opened = common::pgp::open(&message, &common::pgp::key("rpgp-v4-x25519.gpg"), None);
    assert_eq!(opened.unwrap(), *encrypt::private_options(&key));

    match find("rpgp-v6-x25519", 42, 42).unwrap_err() {
        RecipientError::Pgp(PgpRecipientError::Unusable { reason, .. }) => {
            assert_eq!(reason, Unusable::Version(6))
        }
        error => panic!("{error}"),
    }
}
