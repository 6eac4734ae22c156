//! What others made: messages of openssl and of Python's cryptography, and layers that the Go
//! implementation encrypted, a named case each. `tests/data/pkcs7/README.md` says how they were
//! made.

#![allow(clippy::unwrap_used)]

mod common;

use common::pkcs7::{certificate, descriptor, is_the_key, messages, named_only, ring};
use common::{json_data, payload};
use getrandom::SysRng;
use libtest_mimic::{Arguments, Failed, Trial};
use ocicrypt::broker::NoBroker;
use ocicrypt::layer::LayerKey;
use ocicrypt::pkcs7::Envelope;
use ocicrypt::unwrap::{Outcome, UnwrapError, unwrap, unwrap_with};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    message_trials(&mut trials);
    refusal_trials(&mut trials);
    made_up_trials(&mut trials);
    layer_trials(&mut trials);
    libtest_mimic::run(&arguments, trials).exit();
}

/// Every cipher, key transport and encoding.
fn message_trials(trials: &mut Vec<Trial>) {
    let found = messages();
    assert_eq!(found.cases.len(), 69, "cases are missing");
    for case in found.cases {
        let plaintext = found.plaintext.clone();
        trials.push(Trial::test(format!("message: {}", case.name), move || {
            let with = ring(&[&case.key, &certificate(&case.key)]);
            let without = ring(&[&case.key]);
            let envelope = Envelope::parse(&case.cms).map_err(|error| error.to_string())?;
            if envelope.is_authenticated() {
                let text = named_only(&case.cms, &with).map_err(|errors| format!("{errors:?}"))?;
                if text.trim_ascii_start() != plaintext.as_bytes() {
                    return Err("another plaintext came out".into());
                }
                if named_only(&case.cms, &without).is_ok() {
                    return Err("a key was named without a certificate".into());
                }
            }
            // From the payload to the layer key, and again without the certificate.
            let layer = payload(&descriptor(&[&case.cms]));
            for ring in [with, without] {
                let key = unwrap(&layer, &ring, &mut SysRng)?;
                if !is_the_key(&key) {
                    return Err("another layer key came out".into());
                }
            }
            Ok(())
        }));
    }
}

/// Everything that must not open, and what is said of it.
fn refusal_trials(trials: &mut Vec<Trial>) {
    const WRONG: &str = "wrong key, or altered";
    let wanted: [(&str, &[&str]); 12] = [
        ("not for us", &["no key of this kind (RSA-4096)"]),
        (
            "other kinds",
            &[
                "a recipient by key agreement: only those with an RSA key can be read",
                "a recipient by symmetric key: only those with an RSA key can be read",
                "a recipient by password: only those with an RSA key can be read",
            ],
        ),
        ("a label", &["OAEP with a label is not one of the format"]),
        ("an unknown hash", &["OAEP with `2.16.840.1.101.3.4.2.8` is not one of the format"]),
        ("an unknown mask", &["OAEP with `2.16.840.1.101.3.4.2.6` is not one of the format"]),
        (
            "an unknown cipher",
            &["the content cipher `1.2.392.200011.61.1.1.1.2` is not one of the format"],
        ),
        ("signed", &["not an encrypted message (content type `1.2.840.113549.1.7.2`)"]),
        ("symmetric", &["not an encrypted message (content type `1.2.840.113549.1.7.6`)"]),
        (
            "no options",
            &["it was opened, but the private options are not JSON: see line 1, column 1"],
        ),
        ("bad padding", &[WRONG]),
        ("wrong length", &[WRONG]),
        ("wrong content key", &[WRONG]),
    ];
    let negative = messages().negative;
    assert_eq!(negative.len(), wanted.len() + NOT_AUTHENTICATED.len());
    for (name, wanted) in wanted {
        let cms = negative[name].clone();
        trials.push(Trial::test(format!("refused: {name}"), move || {
            let ring = ring(&["rsa-2048", &certificate("rsa-2048")]);
            let layer = payload(&descriptor(&[&cms]));
            let Err(UnwrapError::NoKeyOpened { failures }) = unwrap(&layer, &ring, &mut SysRng)
            else {
                return Err("it was opened".into());
            };
            let Outcome::Tried { reasons, .. } = &failures[0].outcome else {
                return Err(Failed::from("nothing was tried"));
            };
            let mut told: Vec<_> = reasons.iter().map(|(reason, _)| reason.to_string()).collect();
            let mut wanted = wanted.to_vec();
            told.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(told, wanted);
            Ok(())
        }));
    }
}

/// What is not authenticated and holds no private options.
const NOT_AUTHENTICATED: [&str; 5] =
    ["no options, not authentic", "padding 0", "padding 17", "padding 32", "padding 255"];

/// Nothing tells these from a content that holds a layer key: they come to one, always to the same,
/// and to different ones.
fn made_up_trials(trials: &mut Vec<Trial>) {
    trials.push(Trial::test("made up: what is not authenticated", || {
        let negative = messages().negative;
        let mut known: Vec<LayerKey> = Vec::new();
        for name in NOT_AUTHENTICATED {
            let layer = payload(&descriptor(&[&negative[name]]));
            for ring in [&["rsa-2048"][..], &["rsa-2048", "rsa-2048.cert.pem"], &["rsa-e3"]] {
                let open =
                    || unwrap_with(&layer, &common::pkcs7::ring(ring), &mut NoBroker, &mut SysRng);
                let opened = open()?;
                assert!(!opened.is_authenticated && !is_the_key(&opened.key), "{name}");
                assert!(opened.key.is_same(&open()?.key), "{name}");
                let is_new = !known.iter().any(|known| known.is_same(&opened.key));
                assert!(is_new || ring.len() == 2, "{name} {ring:?}");
                known.push(opened.key);
            }
        }
        Ok(())
    }));
}

/// Layers of the Go implementation, each with every one of its recipients.
fn layer_trials(trials: &mut Vec<Trial>) {
    for (recipients, layer) in json_data("pkcs7/layers.json").as_object().unwrap() {
        for recipient in recipients.split(' ') {
            for names in
                [vec![recipient.to_owned(), certificate(recipient)], vec![recipient.into()]]
            {
                let layer = layer.clone();
                let name = format!("layer: {recipients}, with {}", names.join(" and "));
                trials.push(Trial::test(name, move || {
                    let names: Vec<_> = names.iter().map(String::as_str).collect();
                    let key = unwrap(&payload(&layer), &ring(&names), &mut SysRng)?;
                    key.digest().ok_or("no digest was sealed")?;
                    Ok(())
                }));
            }
        }
        let layer = layer.clone();
        trials.push(Trial::test(format!("layer: {recipients}, without key"), move || {
            // The certificate alone, and a key of the same size.
            let ring = ring(&["rsa-e3", &certificate("rsa-2048"), "rsa-3072"]);
            match unwrap(&payload(&layer), &ring, &mut SysRng) {
                Ok(_) => Err("it was opened".into()),
                Err(_) => Ok(()),
            }
        }));
    }
}
