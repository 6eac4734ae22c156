//! Descriptor 3.

use anyhow::{Result, ensure};
use keycell_tests::node::{Node, says};
use keycell_tests::payload::{TYPE_URL, any};
use keycell_tests::sealed::{JWE_KEYS, PUBLIC_OPTIONS, Sealed, random};
use serde_json::{Value, json};

use keycell_tests::suite::Cases;

/// What the program itself takes, and what it reads of a payload before it is too long: twice,
/// because a buffer that grows is two buffers for a moment.
const MOST_KIB: u64 = (24 + 2 * 32) * 1024;

pub(crate) fn add(cases: &mut Cases) {
    bytes(cases);
    json(cases);
    descriptors(cases);
}

fn bytes(cases: &mut Cases) {
    cases.case("payload/closed", || {
        let (node, sealed) = node()?;
        // The machine may have a content store.
        let decoder = node.without_payload(&sealed)?.arg("--content-store=off").stdin_stays_open();
        says(&decoder.run()?, &NO_PAYLOAD)?;
        says(&decoder.payload(Vec::new()).run()?, &NO_PAYLOAD)
    });
    cases.case("payload/garbage", || {
        for garbage in [vec![0xff; 300], vec![0; 300], b"{\"a\":1}".to_vec(), b"\n".to_vec()] {
            refused(garbage, &["payload"])?;
        }
        (0..10).try_for_each(|_| refused(random::<512>().to_vec(), &["payload"]))
    });
    cases.case("payload/cut-short", cut_short);
    cases.case("payload/cut-short-inside-the-json", || {
        let (node, sealed) = node()?;
        let json = sealed.payload_for(&node.recipient).json();
        for length in [0, 1, 2, 17, json.len() / 2, json.len() - 2, json.len() - 1] {
            refused(any(TYPE_URL, json[..length].to_vec()), &["payload", "not JSON"])?;
        }
        Ok(())
    });
    cases.case("payload/other-type", || {
        for url in ["", "io.containerd.ocicrypt.v2.Payload", "type.googleapis.com/x"] {
            refused(any(url, b"{}".to_vec()), &["the type", TYPE_URL, url])?;
        }
        let line = format!("{TYPE_URL}\n\u{1b}[31m");
        refused(any(&line, b"{}".to_vec()), &["the type"])
    });
    cases.case("payload/64-mib", || {
        let (node, sealed) = node()?;
        let bytes = any(TYPE_URL, vec![b' '; 64 << 20]);
        too_long(&node, &sealed, bytes)?;
        too_long(&node, &sealed, vec![0; 64 << 20])
    });
}

fn json(cases: &mut Cases) {
    cases.case("payload/32-mib-of-json", || {
        // Two bytes of JSON can cost sixteen times as much in memory.
        let list = [b"[0".to_vec(), b",0".repeat((32 << 19) - 64), b"]".to_vec()].concat();
        let (node, sealed) = node()?;
        let decoder = node.without_payload(&sealed)?.payload(any(TYPE_URL, list));
        let outcome = decoder.measured(env!("CARGO_BIN_EXE_meter")).stdin_stays_open().run()?;
        says(&outcome, &["more than 256 MiB of memory"])?;
        // The limit of the guest's memory, and the payload in the host's.
        ensure!(outcome.peak < (256 + 2 * 32 + 24) * 1024, "{} KiB of memory", outcome.peak);
        Ok(())
    });
    cases.case("payload/deeply-nested", || {
        let json = [b"[".repeat(1 << 20), b"]".repeat(1 << 20)].concat();
        refused(any(TYPE_URL, json), &["payload", "not JSON"])
    });
    cases.case("payload/of-other-shapes", || {
        for json in ["null", "[]", "\"\"", "1", "true"] {
            refused(any(TYPE_URL, json.into()), &["payload", "not an object"])?;
        }
        for json in [
            json!({ "DecryptConfig": [] }),
            json!({ "DecryptConfig": { "Parameters": "" } }),
            json!({ "DecryptConfig": { "Parameters": { "privkeys": "" } } }),
            json!({ "DecryptConfig": { "Parameters": { "privkeys": [1] } } }),
            json!({ "DecryptConfig": { "Parameters": { "privkeys": ["%"] } } }),
            json!({ "Descriptor": [] }),
            json!({ "Descriptor": { "mediaType": 1 } }),
            json!({ "Descriptor": { "size": "1" } }),
            json!({ "Descriptor": { "size": 1.5 } }),
            json!({ "Descriptor": { "annotations": [] } }),
            json!({ "Descriptor": { "annotations": { "a": {} } } }),
        ] {
            refused(any(TYPE_URL, json.to_string().into()), &["payload", "is not"])?;
        }
        Ok(())
    });
    cases.case("payload/of-nothing", || {
        for json in [json!({}), json!({ "DecryptConfig": null, "Descriptor": null })] {
            refused(any(TYPE_URL, json.to_string().into()), &["annotation"])?;
        }
        Ok(())
    });
}

fn descriptors(cases: &mut Cases) {
    cases.case("payload/of-another-media-type", || {
        for media_type in
            ["application/json", "application/vnd.oci.image.layer.v1.tar", "+encrypted"]
        {
            with_descriptor("mediaType", media_type.into(), &[media_type, "media type"])?;
        }
        Ok(())
    });
    cases.case("payload/without-annotations", || {
        with_descriptor("annotations", Value::Null, &["no annotation", "wrapped key"])
    });
    cases.case("payload/without-public-options", || {
        let (node, sealed) = node()?;
        let wrapped = sealed.wrapped_for(&node.recipient).flattened().to_string();
        let mut descriptor = sealed.descriptor(&[wrapped]);
        descriptor.annotations.remove(PUBLIC_OPTIONS);
        let payload = keycell_tests::payload::Payload::new(&descriptor);
        node.refuses(&sealed, &payload, &["no annotation", PUBLIC_OPTIONS])
    });
    cases.case("payload/without-items", || {
        let (node, sealed) = node()?;
        for value in ["", ",", ",\n,,"] {
            let payload = sealed.payload_for(&node.recipient).annotation(JWE_KEYS, value);
            node.refuses(&sealed, &payload, &["no annotation", "wrapped key"])?;
        }
        Ok(())
    });
}

const NO_PAYLOAD: [&str; 3] = ["no payload", "use_local_image_pull", "key_model"];

fn node() -> Result<(Node, Sealed)> {
    Ok((Node::new()?, Sealed::of_length(100_000)))
}

/// Refused before the layer is read: nothing in it could help.
fn refused(payload: Vec<u8>, words: &[&str]) -> Result<()> {
    let (node, sealed) = node()?;
    says(&node.without_payload(&sealed)?.payload(payload).stdin_stays_open().run()?, words)
}

/// At each boundary of the message, and a byte around it: the type's tag, length and text, the
/// value's tag and length, the value.
fn cut_short() -> Result<()> {
    let (node, sealed) = node()?;
    let whole = sealed.payload_for(&node.recipient).bytes();
    let url = 2 + TYPE_URL.len();
    let boundaries = [1, 2, 3, url - 1, url, url + 1, url + 2, url + 3, url + 4, url + 100];
    let late = [whole.len() / 2, whole.len() - 2, whole.len() - 1];
    for length in boundaries.into_iter().chain(late) {
        let outcome = node
            .without_payload(&sealed)?
            .payload(whole[..length].to_vec())
            .stdin_stays_open()
            .run()?;
        says(&outcome, &["payload"])?;
    }
    Ok(())
}

fn too_long(node: &Node, sealed: &Sealed, payload: Vec<u8>) -> Result<()> {
    let decoder = node.without_payload(sealed)?.payload(payload).stdin_stays_open();
    let outcome = decoder.measured(env!("CARGO_BIN_EXE_meter")).run()?;
    says(&outcome, &["payload", "longer than 32 MiB"])?;
    ensure!(outcome.peak < MOST_KIB, "{} KiB of memory", outcome.peak);
    Ok(())
}

/// One member of the descriptor replaced.
fn with_descriptor(member: &str, value: Value, words: &[&str]) -> Result<()> {
    let (node, sealed) = node()?;
    let mut json: Value = serde_json::from_slice(&sealed.payload_for(&node.recipient).json())?;
    json["Descriptor"][member] = value;
    refused(any(TYPE_URL, json.to_string().into()), words)
}
