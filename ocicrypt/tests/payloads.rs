//! Payloads as containerd writes them and as nobody should, options, and messages.

#![allow(clippy::unwrap_used)]

mod common;

use common::{any, base64, descriptor, field, json_data, payload, ring};
use getrandom::SysRng;
use ocicrypt::options::{OptionsError, PrivateOptions, PublicOptions, layer_key};
use ocicrypt::payload::{Payload, PayloadError, TYPE_URL};
use ocicrypt::unwrap::{UnwrapError, unwrap};
use serde_json::{Value, json};

fn raw(json: &str) -> Vec<u8> {
    [field(1, TYPE_URL.as_bytes()), field(2, json.as_bytes())].concat()
}

fn refusal(bytes: &[u8]) -> PayloadError {
    match Payload::parse(bytes) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

#[test]
fn members_match_in_any_case_and_null_is_nothing() {
    let payload = Payload::parse(&raw(
        r#"{"other":[1],"decryptconfig":{"PARAMETERS":{"privkeys":["aGk=",null,"a\nGk="],
        "Privkeys":null,"provider":[]},"x":0},"DESCRIPTOR":{"MediaType":"a","size":-1,"Size":7,
        "digest":null,"annotations":{"b":"c","B":null},"urls":null}}"#,
    ));
    let payload = payload.unwrap();
    let keys: Vec<_> = payload.parameters.private_keys().iter().map(|key| key.to_vec()).collect();
    assert_eq!(keys, [b"hi".to_vec(), Vec::new(), b"hi".to_vec()]);
    assert!(payload.parameters.private_key_passwords().is_empty());
    assert_eq!(
        payload.parameters.names().collect::<Vec<_>>(),
        ["Privkeys", "privkeys", "provider"]
    );
    let found = payload.descriptor;
    assert_eq!((found.media_type.as_str(), found.digest.as_str(), found.size), ("a", "", 7));
    assert_eq!((found.annotations["b"].as_str(), found.annotations["B"].as_str()), ("c", ""));
}

#[test]
fn fields_in_any_order_and_unknown_ones() {
    let good = json!({ "DecryptConfig": { "Parameters": null }, "Descriptor": { "size": 3 } });
    let text = good.to_string();
    let fields =
        [field(2, text.as_bytes()), field(7, b"x"), vec![0x18, 5], field(1, TYPE_URL.as_bytes())];
    assert_eq!(Payload::parse(&fields.concat()).unwrap().descriptor.size, 3);
}

#[test]
fn each_fault_has_its_own_error() {
    assert_eq!(refusal(b""), PayloadError::Empty);
    let good = any(&json!({}));
    for length in 1..good.len() {
        // Cut between the two fields, it is a message without a value.
        let cut_between = length == 2 + TYPE_URL.len();
        let error = refusal(&good[..length]);
        assert_eq!(error != PayloadError::NotProtobuf, cut_between, "{length}: {error}");
    }
    assert_eq!(refusal(b"{}"), PayloadError::NotProtobuf);
    let error = refusal(&[field(1, b"type\x1b.\ngoogle"), field(2, b"{}")].concat());
    assert_eq!(error, PayloadError::WrongType { found: "type.google".to_owned() });
    let error = refusal(&[field(1, "x".repeat(70_000).as_bytes())].concat());
    assert!(error.to_string().len() < 200);
    assert_eq!(refusal(&raw("{\n  secret")), PayloadError::NotJson { line: 2, column: 3 });
    for (json, member) in [
        ("[]", "the value"),
        (r#"{"DecryptConfig":[]}"#, "DecryptConfig"),
        (r#"{"DecryptConfig":{"Parameters":[]}}"#, "DecryptConfig.Parameters"),
        (r#"{"DecryptConfig":{"Parameters":{"a":"secret"}}}"#, "DecryptConfig.Parameters.a"),
        (r#"{"DecryptConfig":{"Parameters":{"a":["secret"]}}}"#, "DecryptConfig.Parameters.a"),
        (r#"{"DecryptConfig":{"Parameters":{"a":[1]}}}"#, "DecryptConfig.Parameters.a"),
        (r#"{"Descriptor":1}"#, "Descriptor"),
        (r#"{"Descriptor":{"size":1.5}}"#, "Descriptor.size"),
        (r#"{"Descriptor":{"mediaType":1}}"#, "Descriptor.mediaType"),
        (r#"{"Descriptor":{"annotations":{"a":1}}}"#, "Descriptor.annotations.a"),
    ] {
        let error = refusal(&raw(json));
        assert!(!error.to_string().contains("secret"), "{error}");
        let PayloadError::WrongShape { member: found, .. } = error else { panic!("{error}") };
        assert_eq!(found, member);
    }
}

#[test]
fn every_byte_of_a_payload_changed() {
    let layer = json_data("layers.json")["p-256"].clone();
    let good = any(
        &json!({ "DecryptConfig": { "Parameters": { "privkeys": ["aGk="] } }, "Descriptor": layer }),
    );
    let ring = ring(&["p-256.pkcs8.pem"]);
    for position in 0..good.len() {
        for change in [1, 0x80] {
            let mut changed = good.clone();
            changed[position] ^= change;
            if let Ok(payload) = Payload::parse(&changed) {
                let _ = unwrap(&payload, &ring, &mut SysRng);
            }
        }
    }
}

fn private(nonce: Value) -> PrivateOptions {
    let json =
        json!({ "SymKey": base64(&[1; 32]), "Digest": "", "CipherOptions": { "nonce": nonce } });
    PrivateOptions::parse(json.to_string().as_bytes()).unwrap()
}

fn public(nonce: Value) -> PublicOptions {
    let json = json!({
        "Cipher": "AES_256_CTR_HMAC_SHA256", "Hmac": base64(&[2; 32]), "cipherOptions": { "nonce": nonce },
    });
    PublicOptions::parse(json.to_string().as_bytes()).unwrap()
}

#[test]
fn the_sealed_nonce_counts() {
    let [a, b] = [[3; 16], [4; 16]];
    let [nonce_a, nonce_b] = [a, b].map(|nonce| json!(base64(&nonce)));
    let nonce = |sealed: &Value, open: &Value| {
        layer_key(&private(sealed.clone()), &public(open.clone())).map(|key| *key.nonce())
    };
    assert_eq!(nonce(&nonce_a, &json!(null)).unwrap(), a);
    assert_eq!(nonce(&nonce_a, &nonce_a).unwrap(), a);
    assert_eq!(nonce(&json!(null), &nonce_b).unwrap(), b);
    assert!(matches!(nonce(&nonce_a, &nonce_b), Err(OptionsError::NonceMismatch)));
    assert!(matches!(nonce(&nonce_a, &json!("")), Err(OptionsError::NonceMismatch)));
    assert!(matches!(nonce(&json!(null), &json!(null)), Err(OptionsError::NoNonce)));
    for length in [0, 1, 12, 15, 17, 32] {
        let other = json!(base64(&vec![3; length]));
        assert!(matches!(nonce(&other, &json!(null)), Err(OptionsError::Layer(_))), "{length}");
        assert!(matches!(nonce(&json!(null), &other), Err(OptionsError::Layer(_))), "{length}");
    }
}

#[test]
fn options_that_are_none() {
    for json in [
        "",
        "{",
        "[]",
        r#"{"symkey":1}"#,
        r#"{"symkey":"secret"}"#,
        r#"{"digest":[]}"#,
        r#"{"cipheroptions":7}"#,
        r#"{"cipheroptions":{"nonce":7}}"#,
    ] {
        let Err(error) = PrivateOptions::parse(json.as_bytes()) else { panic!("accepted {json}") };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for json in ["{}", r#"{"cipher":""}"#, r#"{"cipher":null}"#] {
        assert!(matches!(PublicOptions::parse(json.as_bytes()), Err(OptionsError::NoCipher)));
    }
    let other = PublicOptions::parse(br#"{"cipher":"AES_128"}"#).unwrap();
    let error = layer_key(&private(json!(base64(&[3; 16]))), &other).err().unwrap();
    assert_eq!(error.to_string(), "the layer cipher `AES_128` is not known");
    assert!(matches!(PublicOptions::of_annotation("%"), Err(OptionsError::NotBase64)));
}

fn message(descriptor: &Value, keys: &[&str]) -> String {
    match unwrap(&payload(descriptor), &ring(keys), &mut SysRng) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn messages_tell_what_was_tried() {
    const KEYS: &str = "org.opencontainers.image.enc.keys.";
    let jwes = json_data("jwe.json");
    let jwe = jwes["cases"][0]["jwe"].as_str().unwrap();
    let mut layer = descriptor(&[jwe, "{", jwe]);
    layer["annotations"][format!("{KEYS}pgp")] = json!("AAAA");
    layer["annotations"][format!("{KEYS}provider.a\u{1b}b")] = json!("AAAA,BBBB");
    let none = "no wrapped key could be opened: jwe: 3 wrapped keys, but there is no private key; \
        pgp: 1 wrapped key, but there is no OpenPGP key; \
        provider.ab: 2 wrapped keys, but no such key provider is configured";
    assert_eq!(message(&layer, &[]), none);
    let wrong = message(&layer, &["p-256.pkcs8.pem"]);
    let wanted = "jwe: 3 wrapped keys, the only key was not tried; \
        item 2: malformed: not JSON; items 1, 3: no key of this kind (RSA-2048); pgp";
    assert!(wrong.contains(wanted), "{wrong}");
    let wrong = message(&layer, &["rsa-e3.pkcs8.pem"]);
    assert!(wrong.contains("1 key was tried: RSA-2048 `rsa-e3.pkcs8.pem` (SHA256:"), "{wrong}");
    assert!(wrong.contains("items 1, 3: wrong key"), "{wrong}");
}

#[test]
fn descriptors_that_cannot_be_opened() {
    let open = |descriptor: &Value| match unwrap(&payload(descriptor), &ring(&[]), &mut SysRng) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    };
    let good = descriptor(&["{}"]);
    let mut layer = good.clone();
    layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    assert!(matches!(open(&layer), UnwrapError::MediaType(_)));
    let mut layer = good.clone();
    layer["annotations"]["org.opencontainers.image.enc.keys.jwe"] = json!("");
    assert!(matches!(open(&layer), UnwrapError::NotEncrypted));
    let mut layer = good;
    layer["annotations"]["org.opencontainers.image.enc.pubopts"] = json!("");
    assert!(matches!(open(&layer), UnwrapError::Options(OptionsError::NoPublicOptions)));
}
