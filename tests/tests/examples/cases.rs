//! The cases that every example guest passes, under `wasmtime run` and in the decoder.

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use keycell_tests::image::{Descriptor, LayerKind};
use keycell_tests::node::WITHHELD;
use keycell_tests::payload::{Payload, TYPE_URL, any};
use keycell_tests::sealed::{PUBLIC_OPTIONS, Sealed};
use keycell_tests::tools::fed;
use serde_json::{Value, json};

use crate::{GO, Host, Subject, outcome, wasmtime};

/// Around what is held back, and around the blocks of the cipher and of the hash.
const LENGTHS: [usize; 9] = [0, 1, 16, 55, 64, WITHHELD - 1, WITHHELD, WITHHELD + 1, 300_001];

/// A case that needs a layer of the guest's fixture.
type Case = (&'static str, fn(&Subject) -> Result<()>);

pub(crate) const CASES: [Case; 13] = [
    ("layer", layer),
    ("second-recipient", second_recipient),
    ("lengths", lengths),
    ("wrong-key", wrong_key),
    ("no-key", no_key),
    ("altered-layer", altered_layer),
    ("cut-off-layer", cut_off_layer),
    ("longer-layer", longer_layer),
    ("another-digest", another_digest),
    ("compressed-while-encrypted", compressed_while_encrypted),
    ("no-payload", no_payload),
    ("garbage-for-a-payload", garbage_for_a_payload),
    ("garbage-in-a-payload", garbage_in_a_payload),
];

fn layer(subject: &Subject) -> Result<()> {
    let fixture = subject.guest.fixture()?;
    let outcome = subject.run("keys", &fixture.payload, &fixture.encrypted)?;
    outcome.is_silent_success(&fixture.plain)
}

fn second_recipient(subject: &Subject) -> Result<()> {
    let fixture = subject.guest.fixture()?;
    let outcome = subject.run("second", &fixture.payload, &fixture.encrypted)?;
    outcome.is_silent_success(&fixture.plain)
}

fn lengths(subject: &Subject) -> Result<()> {
    for length in LENGTHS {
        let sealed = Sealed::of_length(length);
        let payload = subject.payload_of(&sealed)?;
        let outcome = subject.run("keys", &payload, &sealed.encrypted)?;
        outcome.is_silent_success(&sealed.plain).with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

fn wrong_key(subject: &Subject) -> Result<()> {
    subject.refuses("stranger", &subject.guest.fixture()?.payload, "open")
}

fn no_key(subject: &Subject) -> Result<()> {
    // The decoder puts the operator's directory into the message where the guest says `/keys`.
    let is_put = subject.host == Host::Decoder && subject.guest.name == GO.name;
    let word = if is_put { "/empty`" } else { "`/keys" };
    subject.refuses("empty", &subject.guest.fixture()?.payload, word)
}

fn altered_layer(subject: &Subject) -> Result<()> {
    let encrypted = &subject.guest.fixture()?.encrypted;
    let places = match subject.host {
        Host::Wasmtime => vec![0],
        Host::Decoder => vec![0, encrypted.len() / 2, encrypted.len() - 1],
    };
    for place in places {
        let mut altered = encrypted.clone();
        altered[place] ^= 1;
        subject.rejects(&altered)?;
    }
    Ok(())
}

fn cut_off_layer(subject: &Subject) -> Result<()> {
    let encrypted = &subject.guest.fixture()?.encrypted;
    for length in [0, 1, encrypted.len() / 2, encrypted.len() - WITHHELD, encrypted.len() - 1] {
        subject.rejects(&encrypted[..length])?;
    }
    Ok(())
}

fn longer_layer(subject: &Subject) -> Result<()> {
    let encrypted = &subject.guest.fixture()?.encrypted;
    subject.rejects(&[encrypted, &b"x"[..]].concat())
}

/// The HMAC fits, which anyone who has the layer's key can see to.
fn another_digest(subject: &Subject) -> Result<()> {
    let mut sealed = Sealed::of_length(2 * WITHHELD);
    sealed.private["digest"] = json!(format!("sha256:{}", "00".repeat(32)));
    let payload = subject.payload_of(&sealed)?;
    let outcome = subject.run("keys", &payload, &sealed.encrypted)?;
    subject.fails(&outcome, "digest", sealed.plain.len())
}

/// As skopeo, podman and buildah write it: the digest is that of the layer before it was compressed.
fn compressed_while_encrypted(subject: &Subject) -> Result<()> {
    let mut sealed = Sealed::of_length(2 * WITHHELD);
    sealed.private["digest"] = json!(format!("sha256:{}", "00".repeat(32)));
    let media_type = format!("{}+encrypted", LayerKind::Gzip.media_type());
    let layer = Descriptor { media_type, ..subject.descriptor_of(&sealed)? };
    let payload = Payload::new(&layer).bytes();
    let outcome = subject.run("keys", &payload, &sealed.encrypted)?;
    outcome.is_silent_success(&sealed.plain)
}

fn no_payload(subject: &Subject) -> Result<()> {
    match subject.host {
        Host::Wasmtime => {
            for stdin in [&b""[..], b"\0\0", b"\0\0\0\x05any", b"\xff\xff\xff\xff any"] {
                let keys = subject.guest.fixture()?.path("keys");
                let mut command = wasmtime(subject.guest, &keys, &[])?;
                command.args(["--payload", "-"]);
                subject.fails(&outcome(&fed(command, &[stdin])?), "payload", 0)?;
            }
            Ok(())
        }
        // The decoder fails before it runs the guest.
        Host::Decoder => {
            let outcome = subject.run("keys", b"", b"")?;
            outcome.error_without_output().map(drop)
        }
    }
}

fn garbage_for_a_payload(subject: &Subject) -> Result<()> {
    let deep = "[".repeat(200_000);
    let payloads: [(&str, Vec<u8>); 8] = [
        ("garbage", (1..=255).collect()),
        (
            "a length beyond the end",
            [b"\x0a\x21", TYPE_URL.as_bytes(), b"\x12\xff\xff\xff\x7f{}"].concat(),
        ),
        ("a length without an end", b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        ("another type", any("io.containerd.other", b"{}".to_vec())),
        ("no value", any(TYPE_URL, Vec::new())),
        ("half a document", any(TYPE_URL, br#"{"Descriptor":{"annotations":{"#.to_vec())),
        ("no annotations", any(TYPE_URL, br#"{"Descriptor":{}}"#.to_vec())),
        ("depth", any(TYPE_URL, format!(r#"{{"Descriptor":{{"annotations":{deep}"#).into_bytes())),
    ];
    for (name, payload) in payloads {
        subject.refuses("keys", &payload, "").with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn garbage_in_a_payload(subject: &Subject) -> Result<()> {
    let fixture = subject.guest.fixture()?;
    let good = Payload::new(&fixture.descriptor);
    let items = fixture.descriptor.annotations.get(subject.guest.annotation).context("no keys")?;
    let long = Base64::encode_string(&[7; 100_000]);
    let keys = ["", "!", ",,,", "AAAA", "eyJ9", &items[..items.len() / 2 - 1], &long];
    for keys in keys {
        let payload = good.clone().annotation(subject.guest.annotation, keys).bytes();
        subject.refuses("keys", &payload, "").with_context(|| format!("keys {keys:.40}"))?;
    }
    let deep = Base64::encode_string("[".repeat(200_000).as_bytes());
    for annotation in [subject.guest.annotation, PUBLIC_OPTIONS] {
        let payload = good.clone().annotation(annotation, &deep).bytes();
        subject.refuses("keys", &payload, "").context("depth")?;
    }
    let options = [
        json!("no object"),
        json!({}),
        json!({ "cipher": "AES_256_CTR_HMAC_SHA256", "cipheroptions": {} }),
        json!({ "cipher": "AES_256_CTR_HMAC_SHA256", "hmac": "AAAA", "cipheroptions": {} }),
        json!({ "cipher": "NONE", "hmac": Base64::encode_string(&[0; 32]) }),
    ];
    for options in options {
        let encoded = Base64::encode_string(options.to_string().as_bytes());
        let payload = good.clone().annotation(PUBLIC_OPTIONS, &encoded).bytes();
        subject.refuses("keys", &payload, "").with_context(|| options.to_string())?;
    }
    // What is wrong is sealed with the layer's key, by whoever made the image.
    let sealed = Sealed::of_length(1000);
    for (member, value) in [
        ("symkey", json!("AAAA")),
        ("symkey", json!(Base64::encode_string(&[0; 64]))),
        ("cipheroptions", json!({})),
        ("cipheroptions", json!({ "nonce": Base64::encode_string(&[0; 12]) })),
        ("cipheroptions", Value::Null),
    ] {
        let mut sealed = sealed.clone();
        sealed.private[member] = value.clone();
        let payload = subject.payload_of(&sealed)?;
        subject.refuses("keys", &payload, "").with_context(|| format!("{member} {value}"))?;
    }
    Ok(())
}
