//! Files with private keys: every form, every encryption of them, and every place where the
//! password can be. What is wrapped is a JWE of jwcrypto.

use std::sync::Arc;

use anyhow::Result;
use keycell_tests::keys::{KeyForm, KeyKind};
use keycell_tests::sealed::JWE_KEYS;

use crate::Cases;
use crate::fixture::Fixture;
use crate::jwcrypto::{NEEDS, jwe};

const PASSWORD: &str = "correct horse";

const KEYS: [KeyKind; 4] = [KeyKind::Rsa(2048), KeyKind::P256, KeyKind::P384, KeyKind::P521];

/// Names, and the options of `openssl pkcs8 -topk8`.
const PKCS8: [(&str, &[&str]); 9] = [
    ("pbkdf2-sha1-aes128", &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"]),
    ("pbkdf2-sha256-aes192", &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA256"]),
    ("pbkdf2-sha256-aes256", &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"]),
    ("pbkdf2-sha512-aes256", &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"]),
    ("pbkdf2-sha256-des3", &["-v2", "des3", "-v2prf", "hmacWithSHA256"]),
    ("pbkdf2-600000-rounds", &["-v2", "aes-256-cbc", "-iter", "600000"]),
    ("pbkdf2-der", &["-v2", "aes-256-cbc", "-outform", "DER"]),
    ("scrypt", &["-scrypt"]),
    ("scrypt-der", &["-scrypt", "-outform", "DER"]),
];

/// Ciphers of the older encryption of PEM (`DEK-Info`).
const DEK_INFO: [&str; 5] = ["des", "des3", "aes128", "aes192", "aes256"];

/// Where the password is.
#[derive(Clone, Copy)]
enum Place {
    Pass,
    Password,
    Payload,
}

pub(crate) fn add(cases: &mut Cases) {
    for kind in KEYS {
        for &form in kind.forms() {
            case(cases, kind, &form.to_string(), move |fixture| {
                Ok(vec![("key".into(), fixture.key(kind)?.private(form)?)])
            });
        }
        case(cases, kind, "jwk", move |fixture| {
            Ok(vec![("key.jwk".into(), jwe(fixture, &format!("jwk/{kind}"))?.into_bytes())])
        });
        case(cases, kind, "jwk-set", move |fixture| {
            Ok(vec![("keys.json".into(), jwe(fixture, "jwks")?.into_bytes())])
        });
        case(cases, kind, "last-of-several-blocks", move |fixture| {
            let mut file = b"Keys and more:\n".to_vec();
            file.extend(fixture.stranger(kind)?.private(KeyForm::Pkcs8Pem)?);
            file.extend(std::fs::read(fixture.key(kind)?.public())?);
            file.extend(locked(fixture, kind, "pkcs8", PKCS8[0])?.iter());
            file.extend(fixture.key(kind)?.private(KeyForm::Pkcs8Pem)?);
            Ok(vec![("keys.pem".into(), file)])
        });
        // Two blocks with one password, beside one without.
        case(cases, kind, "several-blocks-with-a-password", move |fixture| {
            let mut file = fixture.stranger(kind)?.private(KeyForm::Pkcs8Pem)?;
            file.extend(locked(fixture, kind, "dek-info", ("aes256", &[]))?.iter());
            Ok(vec![
                ("keys.pem".into(), file),
                ("keys.pem.pass".into(), format!("{PASSWORD}\r\n").into_bytes()),
            ])
        });
    }
    for kind in [KeyKind::Rsa(2048), KeyKind::P256] {
        for protection in PKCS8 {
            encrypted(cases, kind, "pkcs8", protection);
        }
        for cipher in DEK_INFO {
            encrypted(cases, kind, "dek-info", (cipher, &[]));
        }
    }
}

/// A case with these files in the keys directory.
fn case<F>(cases: &mut Cases, kind: KeyKind, name: &str, files: F)
where
    F: FnOnce(&Fixture) -> Result<Vec<(String, Vec<u8>)>> + Send + 'static,
{
    cases.case(format!("key-file/{kind}/{name}"), &NEEDS, move |fixture| {
        let files = files(fixture)?;
        let files: Vec<_> =
            files.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
        fixture.opens(JWE_KEYS, &[message(fixture, kind)?], &files)
    });
}

/// A case for each place where the password can be.
fn encrypted(
    cases: &mut Cases,
    kind: KeyKind,
    family: &'static str,
    protection: (&'static str, &'static [&'static str]),
) {
    for (place, name) in
        [(Place::Pass, "pass"), (Place::Password, "password"), (Place::Payload, "payload")]
    {
        let name = format!("key-file/{kind}/{family}/{}/{name}", protection.0);
        cases.case(name, &NEEDS, move |fixture| {
            let key = locked(fixture, kind, family, protection)?.to_vec();
            let item = [message(fixture, kind)?];
            let password = PASSWORD.as_bytes().to_vec();
            match place {
                Place::Pass => {
                    fixture.opens(JWE_KEYS, &item, &[("key", key), ("key.pass", password)])
                }
                Place::Password => {
                    fixture.opens(JWE_KEYS, &item, &[("key", key), ("key.password", password)])
                }
                Place::Payload => {
                    let payload = fixture.sealed.payload_with(JWE_KEYS, &item);
                    let payload = payload.parameter("privkeys", Some(&key));
                    let payload = payload.parameter("privkeys-passwords", Some(&password));
                    fixture.opens_with(&payload, &[])
                }
            }
        });
    }
}

/// The key, encrypted with the password.
fn locked(
    fixture: &Fixture,
    kind: KeyKind,
    family: &str,
    (name, options): (&str, &[&str]),
) -> Result<Arc<Vec<u8>>> {
    let key = fixture.key(kind)?;
    fixture.files.get_or_make(format!("{kind}.{family}.{name}"), || {
        let password = format!("pass:{PASSWORD}");
        let mut args = match (family, kind) {
            ("pkcs8", _) => vec!["pkcs8", "-topk8"],
            (_, KeyKind::Rsa(_)) => vec!["rsa", "-traditional"],
            _ => vec!["ec"],
        };
        let cipher = format!("-{name}");
        if family == "dek-info" {
            args.push(&cipher);
            if name == "des" {
                args.extend(["-provider", "legacy", "-provider", "default"]);
            }
        }
        args.extend(options);
        args.extend(["-passout", &password]);
        let made = key.converted(&args)?;
        let marker: &[u8] = if family == "dek-info" { b"DEK-Info: " } else { b"ENCRYPTED PRIVATE" };
        let has_marker = made.windows(marker.len()).any(|window| window == marker);
        anyhow::ensure!(has_marker != name.ends_with("-der"), "openssl wrote another form");
        Ok(made)
    })
}

fn message(fixture: &Fixture, kind: KeyKind) -> Result<String> {
    let algorithm = match kind {
        KeyKind::Rsa(_) => "RSA-OAEP",
        _ => "ECDH-ES+A256KW",
    };
    jwe(fixture, &format!("{kind}/{algorithm}/A256GCM/compact"))
}
