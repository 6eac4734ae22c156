//! The command: a request on standard input, an answer on standard output.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use anyhow::{Result, ensure};
use base64ct::{Base64, Encoding as _};
use keycell_tests::node::Node;
use keycell_tests::suite::Suite;
use serde_json::{Value, json};

use crate::fixture::{Site, to_unwrap, to_wrap};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[], run);
    case("command/wraps-and-unwraps", there_and_back);
    case("command/refuses-what-is-no-request", bad_requests);
    case("command/refuses-what-is-no-public-key", bad_parameters);
    case("command/wrong-key", || {
        let (site, other) = (Site::new()?, Site::new()?);
        site.encrypt("encrypted")?;
        let request = to_unwrap(&site.wrapped("encrypted")?);
        refused(&other.ask(request.to_string().as_bytes(), &[])?, "no wrapped key could be opened")
    });
    case("command/keys-of-the-request-are-not-used", smuggled_key);
    case("command/wrong-decoders", wrong_decoders);
}

/// There is one error with a hint, and nothing else.
pub(crate) fn refused(done: &Output, words: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&done.stderr);
    let told = said.starts_with("keycell: error: ") && said.contains(words);
    ensure!(told && said.contains("\nhint: "), "{said}");
    ensure!(done.status.code() == Some(1) && done.stdout.is_empty(), "{done:?}");
    Ok(())
}

fn member(done: &Output, path: &str) -> Result<Vec<u8>> {
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let answer: Value = serde_json::from_slice(&done.stdout)?;
    Ok(Base64::decode_vec(answer.pointer(path).and_then(Value::as_str).unwrap_or_default())?)
}

fn there_and_back() -> Result<()> {
    let site = Site::new()?;
    let public = site.public().display().to_string();
    for parameter in [public, site.inline(), site.node.recipient.public_pem()] {
        let request = to_wrap("keycell", &parameter);
        let done = site.ask(request.to_string().as_bytes(), &[])?;
        let wrapped = member(&done, "/keywrapresults/annotation")?;
        let done = site.ask(to_unwrap(&wrapped).to_string().as_bytes(), &[])?;
        let options = member(&done, "/keyunwrapresults/optsdata")?;
        let asked = request["keywrapparams"]["optsdata"].as_str().unwrap_or_default();
        let (options, asked): (Value, Value) = (
            serde_json::from_slice(&options)?,
            serde_json::from_slice(&Base64::decode_vec(asked)?)?,
        );
        ensure!(options == asked, "{options}");
    }
    Ok(())
}

fn bad_requests() -> Result<()> {
    let site = Site::new()?;
    let huge = vec![b' '; (1 << 20) + 1];
    let no_options =
        json!({ "op": "keywrap", "keywrapparams": { "ec": null, "optsdata": "e30=" } });
    for (request, words) in [
        (&b""[..], "the request is empty"),
        (b"{", "no JSON of the protocol: see line 1"),
        (b"[]", "no JSON of the protocol"),
        (b"{\"op\":\"delete\"}", "neither `keywrap` nor `keyunwrap`"),
        (b"{\"op\":\"keyunwrap\"}", "the request has no `keyunwrapparams`"),
        (to_unwrap(b"").to_string().as_bytes(), "has no `keyunwrapparams.annotation`"),
        (to_unwrap(b"garbage").to_string().as_bytes(), "no wrapped key could be opened"),
        (no_options.to_string().as_bytes(), "`optsdata` of the request has no key of a layer"),
        (&huge, "longer than 1024 KiB"),
    ] {
        refused(&site.ask(request, &[])?, words)?;
    }
    Ok(())
}

fn bad_parameters() -> Result<()> {
    let site = Site::new()?;
    let directory = site.node.keys().display().to_string();
    for (provider, parameter, words) in [
        ("vault", site.inline(), "its parameters are for `vault`"),
        ("keycell", "Enabled".to_owned(), "names no public key for `keycell`"),
        ("keycell", directory, "cannot read the public key"),
        ("keycell", "/no/such/file".to_owned(), "cannot read the public key `/no/such/file`"),
        ("keycell", "-----BEGIN PUBLIC KEY-----\n".to_owned(), "is no public key"),
    ] {
        refused(&site.ask(to_wrap(provider, &parameter).to_string().as_bytes(), &[])?, words)?;
    }
    Ok(())
}

/// A client with the right private key gets nothing from a node that does not have it.
fn smuggled_key() -> Result<()> {
    let (site, other) = (Site::new()?, Site::new()?);
    site.encrypt("encrypted")?;
    let mut request = to_unwrap(&site.wrapped("encrypted")?);
    let key = Base64::encode_string(site.node.recipient.private_pem().as_bytes());
    request["keyunwrapparams"]["dc"]["Parameters"] =
        json!({ "privkeys": [key], "privkeys-passwords": [""], "keycell": [key] });
    let done = other.ask(request.to_string().as_bytes(), &[])?;
    refused(&done, "no wrapped key could be opened")
}

fn wrong_decoders() -> Result<()> {
    let site = Site::new()?;
    let node = Node::new()?;
    let script = |name: &str, text: &str, mode: u32| -> Result<String> {
        let path = node.outside().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        Ok(path.display().to_string())
    };
    let old = script("old", "echo 'ctd-decoder 0.0.1 (Keycell)'", 0o755)?;
    let go = script("go", "echo 'flag provided but not defined: -version' >&2; exit 2", 0o755)?;
    let open = script("open", "echo", 0o777)?;
    let this = format!("echo 'ctd-decoder {} (Keycell)'", env!("CARGO_PKG_VERSION"));
    let lying = script("lying", &this, 0o755)?;
    for (decoder, words) in [
        ("/no/such/decoder", "there is no decoder at `/no/such/decoder`"),
        (&old, "its version is `ctd-decoder 0.0.1 (Keycell)`"),
        (&go, "its version is unknown"),
        (&open, "can be changed by others"),
        (&lying, "what the decoder wrote is no key of a layer"),
    ] {
        let request = to_unwrap(b"x").to_string();
        refused(&site.ask(request.as_bytes(), &["--decoder", decoder])?, words)?;
    }
    Ok(())
}
