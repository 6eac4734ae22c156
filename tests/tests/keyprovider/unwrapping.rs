//! `ctd-decoder --unwrap`: one layer key or nothing, and never for containerd.

use std::fs;

use anyhow::{Result, ensure};
use base64ct::{Base64, Encoding as _};
use keycell_tests::decoder::Decoder;
use keycell_tests::node::{Node, says};
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;

use crate::fixture::NAME;

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[], run);
    case("unwrap/writes-one-layer-key", one_layer_key);
    case("unwrap/refuses-containerd", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let outcome = node.decoder(&sealed)?.arg("--unwrap").run()?;
        outcome.error_without_output()?;
        says(&outcome, &["`--unwrap` is among the arguments of a stream processor"])
    });
    case("unwrap/refuses-to-search", || {
        let outcome = Decoder::new()?.keys(&Node::new()?.keys()).arg("--unwrap").run()?;
        outcome.error_without_output()?;
        says(&outcome, &["without a payload on descriptor 3"])
    });
    case("unwrap/no-configuration-turns-it-on", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let file = node.outside().join("config.toml");
        fs::write(&file, "unwrap = true\n")?;
        let outcome = node.decoder(&sealed)?.arg("--config").arg(file).run()?;
        outcome.error_without_output()?;
        says(&outcome, &["there is no key `unwrap`"])
    });
    case("unwrap/wrong-key-writes-nothing", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let outcome = unwrapping(&Node::new()?, &sealed, &node)?.run()?;
        outcome.error_without_output()?;
        says(&outcome, &["no wrapped key could be opened"])
    });
    case("unwrap/own-keys-open-the-annotation-of-the-provider", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
        let jwe = sealed.wrapped_for(&node.recipient).compact();
        let payload = sealed.payload_with(NAME, &[jwe]);
        let decoder = node.without_payload(&sealed)?.payload(payload.bytes());
        decoder.run()?.is_silent_success(&sealed.plain)?;
        let stranger = Node::new()?.without_payload(&sealed)?.payload(payload.bytes());
        let outcome = stranger.run()?;
        outcome.error_without_output()?;
        says(&outcome, &["provider.keycell", "no wrapped key could be opened"])
    });
}

/// The decoder as the key provider starts it, with the keys of `node`, for a layer of `owner`.
fn unwrapping(node: &Node, sealed: &Sealed, owner: &Node) -> Result<Decoder> {
    let payload = sealed.payload_for(&owner.recipient).bytes();
    Ok(Decoder::new()?.keys(&node.keys()).arg("--unwrap").payload(payload))
}

/// What leaves the process is the key, the digest and the nonce of the layer, to the byte. So it is neither a
/// private key nor a part of the layer.
fn one_layer_key() -> Result<()> {
    let node = Node::new()?;
    let (key, nonce) = ([7; 32], [9; 16]);
    let sealed = Sealed::with_key(vec![1; 100_000], &key, &nonce);
    let decoder = unwrapping(&node, &sealed, &node)?.layer(sealed.encrypted.clone());
    let options = String::from_utf8(decoder.run()?.plaintext()?)?;
    let digest = options.split('"').find(|part| part.starts_with("sha256:")).unwrap_or_default();
    let wanted = format!(
        r#"{{"symkey":"{}","digest":"{digest}","cipheroptions":{{"nonce":"{}"}}}}"#,
        Base64::encode_string(&key),
        Base64::encode_string(&nonce),
    );
    ensure!(options == wanted && matches!(digest.len(), 0 | 71), "{options}");
    Ok(())
}
