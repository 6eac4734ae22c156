//! Images that skopeo encrypted for certificates and OpenPGP keys. (For `jwe:`, see
//! `tests/images.rs`.) skopeo 1.9.3 wraps for RSA keys only, in both schemes: for Curve25519 it
//! finds "no key", for ECDH on NIST's curves "no encryption keys".

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::keys::{KeyForm, KeyKind};
use keycell_tests::payload::Payload;
use keycell_tests::tools::Tool;

use crate::Cases;
use crate::fixture::{Files, Fixture, directory};
use crate::gnupg::{PASSWORD, secret};

const NEEDS: [Tool; 5] = [Tool::Skopeo, Tool::Umoci, Tool::Openssl, Tool::Busybox, Tool::Gpg];

pub(crate) fn add(cases: &mut Cases) {
    for bits in [2048, 3072, 4096] {
        cases.case(format!("skopeo/pkcs7/rsa{bits}"), &NEEDS, move |fixture| {
            let kind = KeyKind::Rsa(bits);
            let image = encrypted(fixture, LayerKind::Gzip, &[pkcs7(fixture, kind)?])?;
            decrypts(fixture, LayerKind::Gzip, &image, pair(fixture, kind)?)
        });
        cases.case(format!("skopeo/pgp/rsa{bits}"), &NEEDS, move |fixture| {
            let name = format!("rsa{bits}");
            let image = encrypted(fixture, LayerKind::Gzip, &[pgp(&name)])?;
            let ring = secret(fixture, &name, false)?;
            decrypts(fixture, LayerKind::Gzip, &image, vec![("ring.gpg", ring)])
        });
    }
    for layer in [LayerKind::Tar, LayerKind::Zstd] {
        cases.case(format!("skopeo/pkcs7/{layer}"), &NEEDS, move |fixture| {
            let kind = KeyKind::Rsa(2048);
            let image = encrypted(fixture, layer, &[pkcs7(fixture, kind)?])?;
            decrypts(fixture, layer, &image, pair(fixture, kind)?)
        });
        cases.case(format!("skopeo/pgp/{layer}"), &NEEDS, move |fixture| {
            let image = encrypted(fixture, layer, &[pgp("rsa2048")])?;
            let ring = secret(fixture, "rsa2048", true)?;
            decrypts(fixture, layer, &image, vec![("ring.asc", ring)])
        });
    }
    // Go ctd-decoder wants the certificate.
    cases.case("skopeo/pkcs7/without-certificate", &NEEDS, |fixture| {
        let image = encrypted(fixture, LayerKind::Gzip, &[pkcs7(fixture, KeyKind::Rsa(2048))?])?;
        decrypts(fixture, LayerKind::Gzip, &image, vec![("key.pem", pem(fixture, 2048)?)])
    });
    cases.case("skopeo/pgp/locked", &NEEDS, |fixture| {
        let image = encrypted(fixture, LayerKind::Gzip, &[pgp("locked-rsa2048")])?;
        let ring = secret(fixture, "locked-rsa2048", false)?;
        let files = vec![("ring.gpg", ring), ("ring.gpg.pass", PASSWORD.as_bytes().to_vec())];
        decrypts(fixture, LayerKind::Gzip, &image, files)
    });

    // One image for five recipients in three schemes: each of their keys opens it.
    let mut mixed = |name: &str, files: fn(&Fixture) -> Result<Files>| {
        cases.case(format!("skopeo/mixed/{name}"), &NEEDS, move |fixture| {
            let recipients = [
                jwe(fixture, KeyKind::Rsa(2048))?,
                jwe(fixture, KeyKind::P256)?,
                pkcs7(fixture, KeyKind::Rsa(3072))?,
                pgp("rsa2048"),
                pgp("rsa3072"),
            ];
            let image = encrypted(fixture, LayerKind::Gzip, &recipients)?;
            decrypts(fixture, LayerKind::Gzip, &image, files(fixture)?)
        });
    };
    mixed("jwe-rsa", |fixture| Ok(vec![("key.pem", pem(fixture, 2048)?)]));
    mixed("jwe-p256", |fixture| {
        Ok(vec![("key.der", fixture.key(KeyKind::P256)?.private(KeyForm::Pkcs8Der)?)])
    });
    mixed("pkcs7", |fixture| pair(fixture, KeyKind::Rsa(3072)));
    mixed("first-pgp", |fixture| Ok(vec![("ring.gpg", secret(fixture, "rsa2048", false)?)]));
    mixed("second-pgp", |fixture| Ok(vec![("ring.gpg", secret(fixture, "rsa3072", false)?)]));
}

/// Runs the decoder on every layer and compares each with the plain image's.
fn decrypts(fixture: &Fixture, kind: LayerKind, image: &Image, files: Files) -> Result<()> {
    let plain = fixture.plain(kind)?;
    let (layers, expected) = (image.layers()?, plain.layers()?);
    ensure!(layers.len() == expected.len(), "{} layers", layers.len());
    let keys = directory(&files)?;
    for (index, (layer, expected)) in layers.iter().zip(expected).enumerate() {
        let decoder = Decoder::new()?.media_type(&layer.media_type).layer(image.blob(layer)?);
        let decoder = decoder.keys(keys.path()).payload(Payload::new(layer).bytes());
        let outcome = decoder.run()?;
        outcome.is_silent_success(&plain.blob(&expected)?).context(format!("layer {index}"))?;
    }
    Ok(())
}

fn encrypted(fixture: &Fixture, kind: LayerKind, recipients: &[String]) -> Result<Arc<Image>> {
    let plain = fixture.plain(kind)?;
    let gpg = fixture.gpg()?;
    let name = format!("{kind}-{}", recipients.join("-").replace(['/', ':', '@'], "-"));
    let dir = fixture.dir().join(&name);
    let env = [("GNUPGHOME", gpg.home())];
    fixture.images.get_or_make(name, || plain.encrypted_for(&dir, recipients, &env))
}

fn jwe(fixture: &Fixture, kind: KeyKind) -> Result<String> {
    Ok(format!("jwe:{}", fixture.key(kind)?.public().display()))
}

fn pkcs7(fixture: &Fixture, kind: KeyKind) -> Result<String> {
    Ok(format!("pkcs7:{}", fixture.certificate(kind)?.display()))
}

fn pgp(name: &str) -> String {
    format!("pgp:{name}@keycell.test")
}

fn pem(fixture: &Fixture, bits: u32) -> Result<Vec<u8>> {
    fixture.key(KeyKind::Rsa(bits))?.private(KeyForm::Pkcs8Pem)
}

/// A key and its certificate, as the original wants them.
fn pair(fixture: &Fixture, kind: KeyKind) -> Result<Files> {
    let key = fixture.key(kind)?.private(KeyForm::Pkcs8Pem)?;
    Ok(vec![("key.pem", key), ("node.crt", fs::read(&*fixture.certificate(kind)?)?)])
}
