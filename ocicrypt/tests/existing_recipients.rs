//! Recipients that are removed from a layer: the others open it as before.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use getrandom::SysRng;
use ocicrypt::encrypt::{
    self, ExistingRecipient, ExistingSelector, Pkcs11Hash, Recipient, RemoveError,
    remove_recipients,
};
use ocicrypt::keyring::KeyRing;
use ocicrypt::keys::{KeyKind, PrivateKey};
use ocicrypt::layer::{Encryptor, LayerKey};
use ocicrypt::payload::{self, Payload};
use ocicrypt::unwrap::unwrap;

type Annotations = BTreeMap<String, String>;

const JWE: &str = "org.opencontainers.image.enc.keys.jwe";
const PKCS11: &str = "org.opencontainers.image.enc.keys.pkcs11";

fn key(kind: KeyKind) -> PrivateKey {
    PrivateKey::generate(kind, &mut SysRng).expect("a key")
}

fn recipient(key: &PrivateKey) -> Recipient {
    Recipient::jwe(&key.public_key_info()).expect("a recipient")
}

fn layer_key() -> LayerKey {
    let mut encryptor = Encryptor::new(&mut SysRng).expect("random numbers");
    encryptor.update(&mut b"the layer".to_vec());
    encryptor.finish()
}

fn encrypted(recipients: &[Recipient]) -> Annotations {
    encrypt::annotations(&layer_key(), recipients, &mut SysRng).expect("annotations")
}

fn opens(key: &PrivateKey, annotations: &Annotations) -> bool {
    let descriptor = serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+encrypted",
        "size": 9,
        "annotations": annotations,
    });
    let json = serde_json::json!({ "DecryptConfig": null, "Descriptor": descriptor });
    let payload = Payload::parse(&payload::encode(json.to_string().as_bytes())).expect("a payload");
    let mut ring = KeyRing::new();
    ring.add_file("key.pem", key.to_pkcs8_pem().expect("a key").as_bytes());
    unwrap(&payload, &ring, &mut SysRng).is_ok()
}

/// Removes whom `recipient` selects.
fn without(annotations: &Annotations, recipient: Recipient) -> Result<Annotations, RemoveError> {
    let selector = ExistingSelector::Recipient(recipient);
    let all = ExistingRecipient::all(annotations);
    let chosen: Vec<_> = all.iter().filter(|existing| existing.is(&selector)).collect();
    assert_eq!(chosen.len(), 1, "one recipient is selected");
    remove_recipients(annotations, &chosen)
}

#[test]
fn each_recipient_of_a_jwe_can_be_removed() {
    let keys = [key(KeyKind::P256), key(KeyKind::P384), key(KeyKind::P521)];
    let annotations = encrypted(&keys.each_ref().map(recipient));
    for removed in &keys {
        let rest = without(&annotations, recipient(removed)).expect("two remain");
        for key in &keys {
            assert_eq!(opens(key, &rest), !key.is_same(removed), "{}", key.kind());
        }
    }
}

#[test]
fn the_last_recipient_cannot_be_removed() {
    let (one, two) = (key(KeyKind::P256), key(KeyKind::P256));
    let annotations = encrypted(&[recipient(&one), recipient(&two)]);
    let rest = without(&annotations, recipient(&one)).expect("one remains");
    assert_eq!(without(&rest, recipient(&two)), Err(RemoveError::Last));
    let all = ExistingRecipient::all(&annotations);
    let all: Vec<_> = all.iter().chain(&all).collect();
    assert_eq!(remove_recipients(&annotations, &all), Err(RemoveError::Last));
}

#[test]
fn a_whole_wrapped_key_goes_and_the_others_keep_their_bytes() {
    let (one, two) = (key(KeyKind::P256), key(KeyKind::P256));
    let layer = layer_key();
    let first = encrypt::annotations(&layer, &[recipient(&one)], &mut SysRng).expect("one");
    let both = encrypt::add_recipients(&first, &layer, &[recipient(&two)], &mut SysRng);
    let both = both.expect("two");
    assert_eq!(without(&both, recipient(&two)), Ok(first.clone()));
    let rest = without(&both, recipient(&one)).expect("one remains");
    assert!(both[JWE].ends_with(&rest[JWE]) && opens(&two, &rest) && !opens(&one, &rest));
}

#[test]
fn a_scheme_without_recipients_loses_its_annotation() {
    let (jwe, token) = (key(KeyKind::P256), key(KeyKind::Rsa { bits: 2048 }));
    let in_token = || Recipient::pkcs11(&token.public_key_info(), Pkcs11Hash::Sha1).expect("RSA");
    let annotations = encrypted(&[recipient(&jwe), in_token(), in_token()]);
    let all = ExistingRecipient::all(&annotations);
    let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["jwe: P-256 (ECDH-ES+A256KW)", "pkcs11: RSA-2048", "pkcs11: RSA-2048"]);
    let one = remove_recipients(&annotations, &[&all[1]]).expect("two remain");
    assert_eq!(ExistingRecipient::all(&one).len(), 2);
    assert!(one[PKCS11].len() < annotations[PKCS11].len());
    let none = remove_recipients(&annotations, &[&all[1], &all[2]]).expect("one remains");
    assert!(!none.contains_key(PKCS11) && opens(&jwe, &none));
    let rest = remove_recipients(&annotations, &[&all[0]]).expect("two remain");
    assert!(!rest.contains_key(JWE) && rest[PKCS11] == annotations[PKCS11]);
}

#[test]
fn a_recipient_alone_shows_whose_it_is() {
    let (one, two) = (key(KeyKind::P256), key(KeyKind::P256));
    let annotations = encrypted(&[recipient(&one), recipient(&two)]);
    for existing in ExistingRecipient::all(&annotations) {
        let alone = existing.alone(&annotations);
        assert_ne!(opens(&one, &alone), opens(&two, &alone));
        let selected = existing.is(&ExistingSelector::Recipient(recipient(&one)));
        assert_eq!(selected, opens(&one, &alone));
    }
}

#[test]
fn go_repeats_a_key_that_is_cut_out() {
    let (one, two) = (key(KeyKind::P256), key(KeyKind::P384));
    let mut annotations = encrypted(&[recipient(&one), recipient(&two)]);
    let decode = |text: &str| Base64::decode_vec(text).expect("base64");
    let mut jwe: serde_json::Value =
        serde_json::from_slice(&decode(&annotations[JWE])).expect("JSON");
    jwe["encrypted_key"] = jwe["recipients"][0]["encrypted_key"].clone();
    jwe["header"] = jwe["recipients"][0]["header"].clone();
    let secret = jwe["encrypted_key"].as_str().expect("a string").to_owned();
    let encoded = Base64::encode_string(jwe.to_string().as_bytes());
    annotations.insert(JWE.to_owned(), encoded);
    let rest = without(&annotations, recipient(&one)).expect("one remains");
    let text = String::from_utf8(decode(&rest[JWE])).expect("text");
    assert!(!text.contains(&secret), "the key that was cut out is still there");
    assert!(opens(&two, &rest) && !opens(&one, &rest));
}
