//! `min-algorithms`: what it refuses, and how an operator finds out beforehand.

use std::fs;

use anyhow::{Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::events;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::layout;
use keycell_tests::node::{Node, says};
use keycell_tests::payload::{TYPE_URL, any};
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::{Value, json};

use crate::exits;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("algorithms/in-the-event", &[], in_the_event);
    suite.case("algorithms/modern-opens-what-is-modern", &[], modern_opens);
    suite.case("algorithms/modern-refuses-by-name", &[Tool::Openssl], modern_refuses);
}

/// So that an operator can see what the images of a node need before anything is refused.
fn in_the_event() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let log = node.outside().join("log");
    node.decoder(&sealed)?.arg("--log").arg(&log).run()?.is_silent_success(&sealed.plain)?;
    let event = events::of_layer(&log)?;
    ensure!(event["algorithms"] == json!(["ECDH-ES+A256KW", "A256GCM"]), "{event}");
    Ok(())
}

fn modern_opens() -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let decoder = node.decoder(&sealed)?.arg("--min-algorithms=modern");
    decoder.run()?.is_silent_success(&sealed.plain)
}

/// What `keycell encrypt` writes for an RSA key is what Go ocicrypt writes, with SHA-1; with a flag it
/// is modern.
fn modern_refuses() -> Result<()> {
    let node = Node::without_key()?;
    let dir = node.outside();
    layout::make(&dir.join("plain"))?;
    let key = KeyPair::generate(dir, "node", KeyKind::Rsa(2048))?;
    node.add("node.pem", key.private(KeyForm::Pkcs8Pem)?)?;
    let certificate = key.certify("/CN=node", &[])?;
    let run = |scheme: &str, file: &std::path::Path, more: &[&str], level: &str| {
        let name = |name: &str| format!("oci:{}:demo", dir.join(name).display());
        let recipient = format!("{scheme}:{}", file.display());
        let to = dir.join("encrypted");
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        let args = [
            "encrypt",
            &name("plain"),
            &name("encrypted"),
            "-r",
            &recipient,
            "--drop-attestations",
        ];
        exits(super::keycell(&args)?.args(more), 0)?;
        let layer = layout::layers(&to)?.remove(0);
        let payload = json!({ "DecryptConfig": null, "Descriptor": layer }).to_string();
        let media_type = layer["mediaType"].as_str().unwrap_or_default();
        let log = dir.join(format!("log-{scheme}-{level}-{}", more.len()));
        let decoder = Decoder::new()?.keys(&node.keys()).media_type(media_type).arg("--log");
        let decoder = decoder.arg(&log).arg("--min-algorithms").arg(level);
        let decoder = decoder.payload(any(TYPE_URL, payload.into_bytes()));
        let outcome = decoder.layer(layout::read(&to, &layer)?).run()?;
        Ok::<_, anyhow::Error>((outcome, events::of_layer(&log)?))
    };
    let names = |event: &Value| event["algorithms"].to_string();
    let (outcome, event) = run("jwe", key.public(), &[], "legacy")?;
    outcome.plaintext()?;
    ensure!(names(&event).contains("\"RSA-OAEP with SHA-1 (legacy)\",\"A256GCM\""), "{event}");
    let (outcome, _) = run("jwe", key.public(), &[], "modern")?;
    says(&outcome, &["`RSA-OAEP with SHA-1` is a legacy algorithm", "the only key was not tried"])?;
    says(&outcome, &["hint: have the image encrypted with modern algorithms", "min-algorithms"])?;
    let (outcome, event) = run("jwe", key.public(), &["--jwe-oaep-hash=sha256"], "modern")?;
    outcome.plaintext()?;
    ensure!(names(&event).contains("\"RSA-2048\",\"RSA-OAEP with SHA-256\""), "{event}");
    let (outcome, _) = run("pkcs7", &certificate, &[], "modern")?;
    says(&outcome, &["`RSAES-PKCS1-v1_5` is a legacy algorithm"])
}
