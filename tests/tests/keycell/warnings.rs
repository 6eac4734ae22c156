//! What `keycell encrypt` says about recipients that are weak or expired: each warning once.

use anyhow::{Result, ensure};
use keycell_tests::keys::{KeyKind, KeyPair};
use keycell_tests::layout;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

use crate::keycell;
use crate::keygen::warned;

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| {
        suite.case(format!("keycell/warnings/{name}"), &[Tool::Openssl], run);
    };
    case("strong", || {
        says(KeyKind::P256, None, &[])?;
        says(KeyKind::Rsa(3072), Some("jwe"), &["RSA-OAEP uses SHA-1"])
    });
    case("rsa-2048", || {
        says(KeyKind::Rsa(2048), None, &["the RSA key has 2048 bits", "RSA-OAEP uses SHA-1"])
    });
    case("certificate", || {
        says(KeyKind::Rsa(3072), Some("-days 3"), &["RSA uses PKCS#1 v1.5"])?;
        let words = ["the certificate expired on 20", "RSA uses PKCS#1 v1.5"];
        says(KeyKind::Rsa(3072), Some(EXPIRED), &words)?;
        let usage = "-days 3 -addext keyUsage=digitalSignature";
        let words = ["key usage does not allow encryption", "RSA uses PKCS#1 v1.5"];
        says(KeyKind::Rsa(3072), Some(usage), &words)?;
        let usage = "-days 3 -addext keyUsage=keyEncipherment";
        says(KeyKind::Rsa(3072), Some(usage), &["RSA uses PKCS#1 v1.5"])
    });
}

const EXPIRED: &str = "-days -1";

/// Encrypts for a key, or for a certificate that openssl makes with these options, twice: the warnings
/// are exactly these, each with a hint.
fn says(kind: KeyKind, certificate: Option<&str>, words: &[&str]) -> Result<()> {
    let dir = TempDir::new()?;
    layout::make(&dir.path().join("plain"))?;
    let key = KeyPair::generate(dir.path(), "key", kind)?;
    let mut recipient = format!("jwe:{}", key.public().display());
    if let Some(options) = certificate.filter(|options| options.starts_with('-')) {
        let (file, private) = (dir.path().join("certificate"), dir.path().join("key.pem"));
        let (shown, private) = (file.display().to_string(), private.display().to_string());
        let args = ["req", "-x509", "-subj", "/CN=x", "-key", &private, "-out", &shown];
        if options == EXPIRED {
            // `req -x509` makes no certificate that has expired; `x509` does.
            Tool::Openssl
                .run(["req", "-new", "-subj", "/CN=x", "-key", &private, "-out", &shown])?;
            let args = ["x509", "-req", "-in", &shown, "-signkey", &private, "-out", &shown];
            Tool::Openssl.run(args.into_iter().chain(options.split(' ')))?;
        } else {
            Tool::Openssl.run(args.into_iter().chain(options.split(' ')))?;
        }
        recipient = format!("pkcs7:{shown}");
    }
    let name = |name: &str| format!("oci:{}:demo", dir.path().join(name).display());
    let mut command = keycell(&["encrypt", &name("plain"), &name("encrypted")])?;
    command.args(["-r", &recipient, "-r", &recipient, "--allow-unencrypted"]);
    command.arg("application/vnd.in-toto+json");
    let said = warned(&mut command)?;
    let warnings: Vec<_> =
        said.lines().filter(|line| line.starts_with("keycell: warning: ")).collect();
    ensure!(warnings.len() == words.len(), "{said}");
    ensure!(said.matches("hint: ").count() == words.len(), "{said}");
    for word in words {
        ensure!(warnings.iter().any(|line| line.contains(word)), "nothing of `{word}`: {said}");
    }
    Ok(())
}
