//! What is sealed with the key, and what stands beside it for anyone to change.

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use keycell_tests::jwe::Jwe;
use keycell_tests::node::{Node, withheld};
use keycell_tests::sealed::{PUBLIC_OPTIONS, Sealed};
use serde_json::{Value, json};

use keycell_tests::suite::Cases;

pub(crate) fn add(cases: &mut Cases) {
    nonces(cases);
    digests(cases);
    sealed_and_public(cases);
}

fn nonces(cases: &mut Cases) {
    cases.case("nonce/missing", || {
        for none in [json!({}), json!({ "nonce": null }), Value::Null] {
            refused(|sealed| sealed.private["cipheroptions"] = none.clone(), &["nonce"])?;
        }
        refused(|sealed| drop(remove(&mut sealed.private, "cipheroptions")), &["nonce"])
    });
    cases.case("nonce/of-another-length", || {
        for length in [0, 1, 8, 12, 15, 17, 32] {
            refused(|sealed| sealed.private["cipheroptions"] = nonce(length), &["nonce", "16"])?;
        }
        Ok(())
    });
    cases.case("nonce/not-base64", || {
        refused(|sealed| sealed.private["cipheroptions"]["nonce"] = "%".into(), &["nonce"])?;
        refused(|sealed| sealed.private["cipheroptions"]["nonce"] = 1.into(), &["nonce"])
    });
    // Older images have it there: nothing else can be meant.
    cases.case("nonce/public-only", || {
        opens(|sealed| {
            sealed.public["cipheroptions"] = remove(&mut sealed.private, "cipheroptions");
        })
    });
    cases.case("nonce/public-only-of-another-length", || {
        for length in [0, 8, 15, 17] {
            let change = |sealed: &mut Sealed| {
                remove(&mut sealed.private, "cipheroptions");
                sealed.public["cipheroptions"] = nonce(length);
            };
            refused(change, &["nonce", "16"])?;
        }
        Ok(())
    });
    cases.case("nonce/public-and-sealed-alike", || {
        opens(|sealed| sealed.public["cipheroptions"] = sealed.private["cipheroptions"].clone())
    });
    // Go would decrypt with the public one, into garbage with exit code 0.
    cases.case("nonce/public-and-sealed-differ", || {
        refused(|sealed| sealed.public["cipheroptions"] = nonce(16), &["nonce", "sealed"])
    });
}

fn digests(cases: &mut Cases) {
    cases.case("digest/of-another-layer", || {
        for length in [10, 65_536, 65_537, 131_072, 1 << 20] {
            let node = Node::new()?;
            let mut sealed = Sealed::of_length(length);
            sealed.private["digest"] = format!("sha256:{}", "0".repeat(64)).into();
            for side in ["host", "guest"] {
                let outcome = node.decoder(&sealed)?.arg("--cipher").arg(side).run()?;
                withheld(&outcome, &sealed.plain)?;
                anyhow::ensure!(outcome.error()?.contains("digest"), "{}", outcome.stderr);
            }
        }
        Ok(())
    });
    cases.case("digest/malformed", || {
        let upper = format!("sha256:{}", "A".repeat(64));
        for digest in ["sha256", "sha256:", "sha256:00", "md5:00", upper.as_str(), "é"] {
            refused(|sealed| sealed.private["digest"] = digest.into(), &["digest"])?;
        }
        refused(|sealed| sealed.private["digest"] = 1.into(), &["digest"])
    });
    cases.case("digest/not-sealed", || {
        opens(|sealed| sealed.private["digest"] = "".into())?;
        opens(|sealed| drop(remove(&mut sealed.private, "digest")))
    });
}

fn sealed_and_public(cases: &mut Cases) {
    cases.case("key/of-another-length", || {
        for length in [0, 1, 16, 31, 33, 64] {
            let key = Base64::encode_string(&vec![1; length]);
            refused(|sealed| sealed.private["symkey"] = key.clone().into(), &["key", "32"])?;
        }
        refused(|sealed| drop(remove(&mut sealed.private, "symkey")), &["key", "32"])
    });
    cases.case("private-options/not-json", || {
        for text in ["", "{", "null", "[]", "\u{0}", "\"symkey\""] {
            let (node, sealed) = node()?;
            let jwe = Jwe::seal(&node.recipient, text.as_bytes(), json!({}));
            let payload = sealed.payload(&[jwe.flattened().to_string()]);
            node.refuses(&sealed, &payload, &["it was opened, but", "private options"])
                .with_context(|| format!("{text:?}"))?;
        }
        Ok(())
    });
    // Whoever can write annotations can seal anything for a known public key.
    cases.case("private-options/useless-before-useful", || {
        let (node, sealed) = node()?;
        let useless = Jwe::seal(&node.recipient, b"{}", json!({})).flattened().to_string();
        let useful = sealed.wrapped_for(&node.recipient).flattened().to_string();
        node.opens_with(&sealed, &sealed.payload(&[useless, useful]))
    });

    cases.case("public-options/malformed", || {
        let (node, sealed) = node()?;
        for value in ["%", "e30", "bnVsbA==", "W10=", "ew==", "e30="] {
            let payload = sealed.payload_for(&node.recipient).annotation(PUBLIC_OPTIONS, value);
            node.refuses(&sealed, &payload, &[])?;
        }
        Ok(())
    });
    cases.case("public-options/other-cipher", || {
        for cipher in ["AES_256_GCM", "aes_256_ctr_hmac_sha256", "", "\u{1b}[31m`"] {
            refused(|sealed| sealed.public["cipher"] = cipher.into(), &["cipher"])?;
        }
        refused(|sealed| drop(remove(&mut sealed.public, "cipher")), &["cipher"])
    });
    cases.case("options/in-any-case", || {
        opens(|sealed| {
            for (name, other) in [("symkey", "SymKey"), ("digest", "DIGEST")] {
                sealed.private[other] = remove(&mut sealed.private, name);
            }
            sealed.public["Hmac"] = remove(&mut sealed.public, "hmac");
        })
    });
}

fn node() -> Result<(Node, Sealed)> {
    Ok((Node::new()?, Sealed::of_length(100_000)))
}

fn refused(change: impl FnOnce(&mut Sealed), words: &[&str]) -> Result<()> {
    let (node, mut sealed) = node()?;
    change(&mut sealed);
    node.refuses(&sealed, &sealed.payload_for(&node.recipient), words)
}

fn opens(change: impl FnOnce(&mut Sealed)) -> Result<()> {
    let (node, mut sealed) = node()?;
    change(&mut sealed);
    node.opens(&sealed)
}

fn nonce(length: usize) -> Value {
    json!({ "nonce": Base64::encode_string(&vec![9; length]) })
}

fn remove(object: &mut Value, name: &str) -> Value {
    object.as_object_mut().and_then(|object| object.remove(name)).unwrap_or_default()
}
