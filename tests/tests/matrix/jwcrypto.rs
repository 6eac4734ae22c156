//! Wrapped keys in JWE as Python's jwcrypto writes them, all in one start of Python.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use keycell_tests::keys::{KeyForm, KeyKind};
use keycell_tests::sealed::JWE_KEYS;
use keycell_tests::tools::{Tool, output};
use serde_json::{Map, json};

use crate::Cases;
use crate::fixture::Fixture;

pub(crate) const NEEDS: [Tool; 2] = [Tool::Openssl, Tool::Jwcrypto];

/// What it wrote, by `KEY/ALG/ENC/SERIALIZATION`; private keys are `jwk/KEY`, all of them `jwks`.
pub(crate) type Written = HashMap<String, String>;

const ENCRYPTIONS: [&str; 6] =
    ["A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"];

const SERIALIZATIONS: [&str; 5] =
    ["compact", "flattened", "flattened-with-headers", "general", "deflated"];

const KEYS: [KeyKind; 4] = [KeyKind::Rsa(2048), KeyKind::P256, KeyKind::P384, KeyKind::P521];

pub(crate) fn add(cases: &mut Cases) {
    for kind in KEYS {
        for &algorithm in algorithms(kind) {
            for encryption in ENCRYPTIONS {
                for serialization in SERIALIZATIONS {
                    let case = format!("{kind}/{algorithm}/{encryption}/{serialization}");
                    cases.case(format!("jwcrypto/{case}"), &NEEDS, move |fixture| {
                        let key = fixture.key(kind)?.private(KeyForm::Pkcs8Pem)?;
                        fixture.opens(JWE_KEYS, &[jwe(fixture, &case)?], &[("key.pem", key)])
                    });
                }
            }
        }
    }
}

/// What jwcrypto wrote under this name.
pub(crate) fn jwe(fixture: &Fixture, name: &str) -> Result<String> {
    let text = written(fixture)?.get(name).cloned();
    text.with_context(|| format!("jwcrypto wrote no {name}"))
}

fn algorithms(kind: KeyKind) -> &'static [&'static str] {
    match kind {
        KeyKind::Rsa(_) => &["RSA-OAEP", "RSA-OAEP-256"],
        _ => &["ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"],
    }
}

fn written(fixture: &Fixture) -> Result<Arc<Written>> {
    fixture.written.get_or_make((), || {
        let mut keys = Map::new();
        let mut cases = Vec::new();
        for kind in KEYS {
            let pairs = [
                (kind.to_string(), fixture.key(kind)?),
                (format!("stranger-{kind}"), fixture.stranger(kind)?),
            ];
            for (name, key) in pairs {
                let pem = String::from_utf8(key.private(KeyForm::Pkcs8Pem)?)?;
                keys.insert(name, pem.into());
            }
            for algorithm in algorithms(kind) {
                cases.extend(ENCRYPTIONS.map(|enc| json!([kind.to_string(), algorithm, enc])));
            }
        }
        let plaintext = fixture.sealed.private.to_string();
        let job = json!({ "keys": keys, "cases": cases, "plaintext": plaintext });
        let [script, path] = ["jwcrypto-job.py", "job.json"].map(|name| fixture.dir().join(name));
        fs::write(&script, include_str!("jwcrypto.py"))?;
        fs::write(&path, job.to_string())?;
        let mut command = Command::new(Tool::Jwcrypto.find()?);
        command.arg(script).arg(path);
        Ok(serde_json::from_slice(&output(&mut command)?)?)
    })
}
