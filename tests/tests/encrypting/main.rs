//! What the `ocicrypt` crate encrypts, read by others: images by skopeo, which is the original;
//! each scheme's wrapped keys by OpenSSL, GnuPG and Python's jwcrypto.

mod other_programs;
mod skopeo;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use getrandom::SysRng;
use keycell_tests::keys::{KeyForm, KeyPair};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use ocicrypt::encrypt::{self, Recipient};
use ocicrypt::layer::{Encryptor, LayerKey};
use std::path::PathBuf;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    other_programs::add(&mut suite);
    let images = skopeo::add(&mut suite);
    let outcome = suite.run();
    drop(images);
    outcome
}

/// The annotations of a layer, and its key.
type Annotations = BTreeMap<String, String>;

/// Encrypts a layer in pieces, and wraps its key.
fn encrypt(layer: &mut [u8], recipients: &[Recipient]) -> Result<(LayerKey, Annotations)> {
    let mut encryptor = Encryptor::new(&mut SysRng)?;
    layer.chunks_mut(64 * 1024).for_each(|piece| encryptor.update(piece));
    let key = encryptor.finish();
    let annotations = encrypt::annotations(&key, recipients, &mut SysRng)?;
    Ok((key, annotations))
}

/// The one wrapped key of a scheme.
fn wrapped(annotations: &Annotations, scheme: &str) -> Result<Vec<u8>> {
    use base64ct::Encoding;
    let value = &annotations[&format!("org.opencontainers.image.enc.keys.{scheme}")];
    Ok(base64ct::Base64::decode_vec(value)?)
}

fn jwe(key: &KeyPair) -> Result<Recipient> {
    Ok(Recipient::jwe(&fs::read(key.public())?)?)
}

/// Writes the private key as skopeo and openssl read it, beside the public one.
fn private(key: &KeyPair) -> Result<PathBuf> {
    let path = key.public().with_extension("private");
    fs::write(&path, key.private(KeyForm::Pkcs8Pem)?)?;
    Ok(path)
}

/// The certificate of a key, which it has signed itself.
fn certificate(key: &KeyPair) -> Result<PathBuf> {
    let path = key.public().with_extension("certificate");
    if path.exists() {
        return Ok(path); // another one would have another serial number
    }
    let private = private(key)?;
    let subject = ["-subj", "/O=Keycell/CN=Test", "-days", "2"].map(AsRef::as_ref);
    let options = ["req", "-x509", "-new", "-sha256", "-key"].map(AsRef::as_ref);
    let files = [private.as_os_str(), "-out".as_ref(), path.as_os_str()];
    Tool::Openssl.run(options.into_iter().chain(files).chain(subject))?;
    Ok(path)
}

fn pkcs7(key: &KeyPair) -> Result<Recipient> {
    Ok(Recipient::pkcs7(&fs::read(certificate(key)?)?)?)
}
