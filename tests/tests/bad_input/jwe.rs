//! Wrapped keys of the scheme JWE. Anyone can add some to an image: the good one wins, and the
//! others cost bounded time and memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keycell_tests::jwe::{Jwe, Recipient, url};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::{Node, says};
use keycell_tests::payload::Payload;
use keycell_tests::sealed::{JWE_KEYS, Sealed, random};
use keycell_tests::tools::Tool;
use serde_json::{Value, json};

use keycell_tests::suite::Cases;

/// More than `unwrap` may take on a machine that does nothing else.
const LONG: Duration = Duration::from_secs(25);

pub(crate) fn add(cases: &mut Cases) {
    forms(cases);
    malformed_items(cases);
    altered_items(cases);
    algorithms(cases);
    points_and_compression(cases);
    many_or_large_items(cases);
}

fn forms(cases: &mut Cases) {
    for (name, write) in [
        ("compact", (|jwe| jwe.compact()) as fn(Jwe) -> String),
        ("flattened", |jwe| jwe.flattened().to_string()),
        ("general", |jwe| jwe.general(vec![jwe.recipient()]).to_string()),
        // As Go writes it: the first recipient's key again, beside the list.
        ("general-with-the-first-repeated", |jwe| {
            let mut general =
                jwe.general(vec![json!({ "encrypted_key": "AAAA" }), jwe.recipient()]);
            general["encrypted_key"] = "AAAA".into();
            general.to_string()
        }),
    ] {
        cases.case(&format!("jwe/{name}"), move || {
            let (node, sealed) = node()?;
            let item = write(sealed.wrapped_for(&node.recipient));
            node.opens_with(&sealed, &sealed.payload(&[item]))
        });
    }
}

fn malformed_items(cases: &mut Cases) {
    let mut bad = |name, write: Item, words| bad_item(cases, name, write, words);
    bad("not-a-jwe", |_, _| "hello".into(), &["item 1", "malformed"]);
    bad("not-text", |_, _| "\u{0}\u{1}".into(), &["malformed"]);
    bad("not-json", |_, _| "{\"protected\":".into(), &["not JSON"]);
    bad("deeply-nested", |_, _| "{\"a\":".repeat(100_000), &["not JSON"]);
    bad(
        "duplicate-member",
        |node, sealed| {
            let text = sealed.wrapped_for(&node.recipient).flattened().to_string();
            format!("{{\"tag\":\"\",{}", &text[1..])
        },
        &["`tag` occurs twice"],
    );
    bad(
        "duplicate-member-in-the-protected-header",
        |node, sealed| {
            let mut jwe = sealed.wrapped_for(&node.recipient);
            jwe.protected =
                url(b"{\"alg\":\"dir\",\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\"}");
            jwe.flattened().to_string()
        },
        &["`alg` occurs twice"],
    );
    bad(
        "critical-extension",
        |node, sealed| sealing(node, sealed, json!({ "crit": ["b64"] })),
        &["crit"],
    );
    bad(
        "empty-critical-list",
        |node, sealed| sealing(node, sealed, json!({ "crit": [] })),
        &["crit"],
    );
}

fn altered_items(cases: &mut Cases) {
    let mut bad = |name, write: Item, words| bad_item(cases, name, write, words);
    bad("empty-wrapped-key", |node, sealed| without_key(node, sealed, "".into()), &["wrapped key"]);
    bad("no-wrapped-key", |node, sealed| without_key(node, sealed, Value::Null), &["wrapped key"]);
    bad(
        "cbc-with-empty-ciphertext",
        |node, _| Jwe::seal_cbc(&node.recipient, b"").flattened().to_string(),
        &["the ciphertext has the wrong length"],
    );
    bad(
        "cbc-with-odd-ciphertext",
        |node, _| Jwe::seal_cbc(&node.recipient, &[7; 17]).flattened().to_string(),
        &["the ciphertext has the wrong length"],
    );
    bad(
        "cbc-with-wrong-padding",
        |node, _| Jwe::seal_cbc(&node.recipient, &[7; 32]).flattened().to_string(),
        &["altered"],
    );
    bad("short-tag", |node, sealed| changed(node, sealed, |jwe| jwe.tag.truncate(12)), &["tag"]);
    bad("no-tag", |node, sealed| changed(node, sealed, |jwe| jwe.tag.clear()), &["tag"]);
    bad("long-tag", |node, sealed| changed(node, sealed, |jwe| jwe.tag.push(0)), &["tag"]);
    bad("altered-tag", |node, sealed| changed(node, sealed, |jwe| jwe.tag[0] ^= 1), &["altered"]);
    bad(
        "altered-content",
        |node, sealed| changed(node, sealed, |jwe| jwe.ciphertext[0] ^= 1),
        &["altered"],
    );
    bad(
        "short-vector",
        |node, sealed| changed(node, sealed, |jwe| jwe.iv.truncate(8)),
        &["initialization vector"],
    );
    bad(
        "short-wrapped-key",
        |node, sealed| changed(node, sealed, |jwe| jwe.encrypted_key.truncate(39)),
        &["wrapped key"],
    );
    bad(
        "altered-wrapped-key",
        |node, sealed| changed(node, sealed, |jwe| jwe.encrypted_key[3] ^= 1),
        &["wrong key"],
    );
}

fn algorithms(cases: &mut Cases) {
    for algorithm in ["dir", "none", "RSA1_5", "ECDH-ES", "A256KW", "PBES2-HS256+A128KW"] {
        cases.case(&format!("jwe/algorithm-{algorithm}"), move || {
            let (node, sealed) = node()?;
            let item = sealing(&node, &sealed, json!({ "alg": algorithm }));
            node.refuses(&sealed, &sealed.payload(&[item]), &[algorithm])
        });
    }
}

fn points_and_compression(cases: &mut Cases) {
    let mut bad = |name: &str, write: Item, words: &'static [&str]| {
        cases.case(&format!("jwe/{name}"), move || {
            let (node, sealed) = node()?;
            let payload = sealed.payload(&[write(&node, &sealed)]);
            let decoder = node.without_payload(&sealed)?.payload(payload.bytes());
            let outcome = decoder.measured(env!("CARGO_BIN_EXE_meter")).stdin_stays_open().run()?;
            says(&outcome, words)?;
            ensure!(outcome.peak < 24 * 1024, "{} KiB of memory", outcome.peak);
            Ok(())
        });
    };
    bad(
        "point-off-the-curve",
        |node, sealed| sealing(node, sealed, epk(&[1; 32], &[1; 32])),
        &["not a point"],
    );
    bad("point-at-zero", |node, sealed| sealing(node, sealed, epk(&[0; 32], &[0; 32])), &["point"]);
    bad(
        "short-coordinate",
        |node, sealed| sealing(node, sealed, epk(&[1; 31], &[1; 32])),
        &["coordinate"],
    );
    bad("no-point", |node, sealed| sealing(node, sealed, json!({ "epk": null })), &["epk"]);
    bad(
        "zip-of-another-kind",
        |node, sealed| sealing(node, sealed, json!({ "zip": "GZ" })),
        &["GZ"],
    );
    bad(
        "zip-without-deflate",
        |node, sealed| sealing(node, sealed, json!({ "zip": "DEF" })),
        &["decompressed"],
    );
    bad(
        "zip-bomb",
        |node, _| Jwe::deflated(&node.recipient, &vec![b' '; 32 << 20]).compact(),
        &["decompressed"],
    );
    cases.case("jwe/zip", || {
        let (node, sealed) = node()?;
        // JSON may end in white space: the longest content that is always accepted.
        let mut content = sealed.private.to_string().into_bytes();
        content.resize(250_000, b' ');
        let item = Jwe::deflated(&node.recipient, &content).compact();
        node.opens_with(&sealed, &sealed.payload(&[item]))
    });
}

fn many_or_large_items(cases: &mut Cases) {
    cases.case("jwe/2000-bad-items-and-a-good-one", || {
        let (node, sealed) = node()?;
        let mut items = hostile_items(&node, &sealed, 2000);
        let good = sealed.wrapped_for(&node.recipient).flattened().to_string();
        items.push(good);
        wins(&node, &sealed, &sealed.payload(&items))
    });
    cases.case_with(&[Tool::Openssl], "jwe/2000-items-for-other-rsa-keys-and-a-good-one", || {
        let (node, sealed) = node()?;
        let rsa = KeyPair::generate(node.outside(), "rsa", KeyKind::Rsa(2048))?;
        node.add("a-rsa.der", rsa.private(KeyForm::Pkcs8Der)?)?;
        let mut other = Jwe::seal(&node.recipient, b"{}", json!({}));
        other.protected = url(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
        // Below any modulus of 2048 bits, so that it is a number to be decrypted.
        let number = || [&[0x7f][..], &random::<255>()].concat();
        let item = |_| changing(&other, |jwe| jwe.encrypted_key = number());
        let mut items: Vec<_> = (0..2000).map(item).collect();
        items.push(sealed.wrapped_for(&node.recipient).flattened().to_string());
        wins(&node, &sealed, &sealed.payload(&items))
    });
    cases.case("jwe/2000-bad-items-alone", || {
        let (node, sealed) = node()?;
        let items = hostile_items(&node, &sealed, 2000);
        let payload = sealed.payload(&items).bytes();
        let outcome = node.without_payload(&sealed)?.payload(payload).stdin_stays_open().run()?;
        says(&outcome, &["2000 wrapped keys", "more"])?;
        ensure!(outcome.stderr.len() < 4200, "{} bytes of message", outcome.stderr.len());
        Ok(())
    });
    cases.case("jwe/16-mib-annotation", || {
        let (node, sealed) = node()?;
        let good =
            sealed.descriptor(&[sealed.wrapped_for(&node.recipient).flattened().to_string()]);
        let good = &good.annotations[JWE_KEYS];
        let long = 16 << 20;
        for bad in
            ["A".repeat(long), "AAAA,".repeat(long / 5), ",".repeat(long), "%,".repeat(long / 2)]
        {
            let value = format!("{bad},{good}");
            let payload = sealed.payload_for(&node.recipient).annotation(JWE_KEYS, &value);
            wins(&node, &sealed, &payload)?;
            let payload = payload.annotation(JWE_KEYS, &bad).bytes();
            let decoder = node.without_payload(&sealed)?.payload(payload).stdin_stays_open();
            let outcome = decoder.measured(env!("CARGO_BIN_EXE_meter")).deadline(LONG).run()?;
            says(&outcome, &["wrapped key"])?;
            ensure!(outcome.peak < (256 + 64 + 24) << 10, "{} KiB of memory", outcome.peak);
        }
        Ok(())
    });
    // Bytes of a JWE that are few as text and many as a tree.
    cases.case("jwe/16-mib-of-recipients", || {
        let (node, sealed) = node()?;
        let list = format!("[{}{{}}]", "{},".repeat((11 << 20) / 3));
        let item = format!("{{\"protected\":\"e30\",\"recipients\":{list}}}");
        let payload = sealed.payload(&[item]).bytes();
        let decoder = node.without_payload(&sealed)?.payload(payload).stdin_stays_open();
        let outcome = decoder.measured(env!("CARGO_BIN_EXE_meter")).deadline(LONG).run()?;
        says(&outcome, &["more than 256 MiB of memory"])?;
        ensure!(outcome.peak < (256 + 64 + 24) << 10, "{} KiB of memory", outcome.peak);
        Ok(())
    });
}

/// Writes a wrapped key.
type Item = fn(&Node, &Sealed) -> String;

/// A wrapped key is refused alone, and does not stop a good one behind it.
fn bad_item(cases: &mut Cases, name: &str, write: Item, words: &'static [&'static str]) {
    cases.case(&format!("jwe/{name}"), move || {
        let (node, sealed) = node()?;
        let item = write(&node, &sealed);
        node.refuses(&sealed, &sealed.payload(&[&item]), words)?;
        let good = sealed.wrapped_for(&node.recipient).flattened().to_string();
        node.opens_with(&sealed, &sealed.payload(&[item, good])).context("before a good one")
    });
}

fn node() -> Result<(Node, Sealed)> {
    Ok((Node::new()?, Sealed::of_length(1000)))
}

/// The private options with more in the protected header.
fn sealing(node: &Node, sealed: &Sealed, more: Value) -> String {
    let content = sealed.private.to_string();
    Jwe::seal(&node.recipient, content.as_bytes(), more).flattened().to_string()
}

fn changed(node: &Node, sealed: &Sealed, change: fn(&mut Jwe)) -> String {
    let mut jwe = sealed.wrapped_for(&node.recipient);
    change(&mut jwe);
    jwe.flattened().to_string()
}

fn without_key(node: &Node, sealed: &Sealed, value: Value) -> String {
    let mut json = sealed.wrapped_for(&node.recipient).flattened();
    json["encrypted_key"] = value;
    json.to_string()
}

fn epk(x: &[u8], y: &[u8]) -> Value {
    json!({ "epk": { "kty": "EC", "crv": "P-256", "x": url(x), "y": url(y) } })
}

/// Wrapped keys that are of no use, in many ways: each takes another way through the decoder.
fn hostile_items(node: &Node, sealed: &Sealed, count: usize) -> Vec<String> {
    let ours = sealed.wrapped_for(&node.recipient);
    let useless = Jwe::seal(&node.recipient, b"{}", json!({}));
    let others = sealed.wrapped_for(&Recipient::generate());
    let item = |number| match number % 5 {
        0 => url(&random::<200>()),
        1 => changing(&ours, |jwe| jwe.tag = random::<16>().to_vec()),
        2 => changing(&ours, |jwe| jwe.encrypted_key = random::<40>().to_vec()),
        3 => changing(&others, |jwe| jwe.encrypted_key = random::<40>().to_vec()),
        _ => useless.compact(),
    };
    (0..count).map(item).collect()
}

fn changing(jwe: &Jwe, change: impl FnOnce(&mut Jwe)) -> String {
    let mut jwe = jwe.clone();
    change(&mut jwe);
    jwe.flattened().to_string()
}

/// The layer is decrypted in time.
fn wins(node: &Node, sealed: &Sealed, payload: &Payload) -> Result<()> {
    let decoder = node.without_payload(sealed)?.payload(payload.bytes()).deadline(LONG);
    decoder.run()?.is_silent_success(&sealed.plain)
}
