//! `keycell keygen` and `keycell keys`: openssl reads the keys, and what is encrypted for them is
//! decrypted by Keycell and by skopeo.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::image::Image;
use keycell_tests::layout::layers;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use serde_json::Value;
use tempfile::TempDir;

use crate::recipients::decrypted_by_skopeo;
use crate::{fails, keycell, succeeds};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("keycell/keygen/{name}"), tools, run);
    };
    case("p-256", &Tool::IMAGES, || made_and_used("p256", "P-256"));
    case("p-384", &[Tool::Openssl], || made("p384", "P-384").map(drop));
    case("p-521", &Tool::IMAGES, || made_and_used("p521", "P-521"));
    case("rsa-3072", &Tool::IMAGES, || made_and_used("rsa", "RSA-3072"));
    case("never-overwrites", &[Tool::Openssl], never_overwrites);
    case("no-directory", &[], no_directory);
    case("keys-of-a-directory", &[Tool::Openssl], keys_of_a_directory);
    case("public-key", &[Tool::Openssl], public_key);
}

/// Makes `node.pem` and `node.pub.pem`.
fn made(kind: &str, shown: &str) -> Result<TempDir> {
    let dir = TempDir::new()?;
    let (private, public) = (dir.path().join("node.pem"), dir.path().join("node.pub.pem"));
    let mut command = keycell(&["keygen", "--type", kind])?;
    let said = succeeds(command.arg(&private).arg("--public").arg(&public))?;
    ensure!(said.starts_with(shown), "{said}");
    let listed = succeeds(keycell(&["keys"])?.arg(&private))?;
    ensure!(said.starts_with(&listed), "`keys` lists another: {listed}");
    ensure!(fs::metadata(&private)?.permissions().mode() & 0o777 == 0o600, "others can read it");
    ensure!(fs::metadata(&public)?.permissions().mode() & 0o400 != 0, "it cannot be read");
    ensure!(fs::read_dir(dir.path())?.count() == 2, "there are other files");
    let check = ["pkey", "-check", "-noout", "-in"];
    openssl(&check, &private)?;
    let computed = openssl(&["pkey", "-pubout", "-in"], &private)?;
    ensure!(computed == fs::read(&public)?, "the public key is that of another");
    Ok(dir)
}

fn openssl(args: &[&str], file: &Path) -> Result<Vec<u8>> {
    Tool::Openssl.run(args.iter().map(AsRef::as_ref).chain([file.as_os_str()]))
}

/// Encrypts an image; Keycell decrypts it, and so does skopeo.
fn made_and_used(kind: &str, shown: &str) -> Result<()> {
    let dir = made(kind, shown)?;
    let image = Image::busybox(dir.path())?;
    let from = format!("oci:{}:image", dir.path().join("plain").display());
    image.copy(&[], &from)?;
    let (private, encrypted) = (dir.path().join("node.pem"), dir.path().join("encrypted"));
    let to = format!("oci:{}:image", encrypted.display());
    let recipient = format!("jwe:{}", dir.path().join("node.pub.pem").display());
    let hash = ["--jwe-oaep-hash", "sha256"];
    let command = &mut keycell(&["encrypt", &from, &to, "-r", &recipient])?;
    let said = warned(command.args(hash))?;
    ensure!(!said.contains("warning"), "{said}");
    let back = dir.path().join("back");
    let mut command = keycell(&["decrypt", &to, &format!("oci:{}:image", back.display())])?;
    warned(command.arg("--keys").arg(&private))?;
    for (expected, found) in image.layers()?.iter().zip(layers(&back)?) {
        ensure!(found["digest"] == *expected.digest, "another layer");
    }
    decrypted_by_skopeo(&image, &encrypted, &[&private], &keycell_tests::gpg::Gpg::new()?)
}

/// What a command that succeeds says on standard error.
pub(crate) fn warned(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    Ok(stderr)
}

fn never_overwrites() -> Result<()> {
    let dir = made("p256", "P-256")?;
    let (private, public) = (dir.path().join("node.pem"), dir.path().join("node.pub.pem"));
    let before = fs::read(&private)?;
    fails(keycell(&["keygen"])?.arg(&private), &["node.pem` exists", "hint: "])?;
    ensure!(fs::read(&private)? == before, "it was overwritten");
    // Neither file is written if one exists.
    let other = dir.path().join("other.pem");
    let mut command = keycell(&["keygen"])?;
    fails(command.arg(&other).arg("--public").arg(&public), &["node.pub.pem` exists"])?;
    ensure!(!other.exists(), "a private key without its public key");
    // A link is a file too, wherever it leads.
    let link = dir.path().join("link.pem");
    std::os::unix::fs::symlink("nowhere", &link)?;
    fails(keycell(&["keygen"])?.arg(&link), &["link.pem` exists"])?;
    let mut command = keycell(&["keygen"])?;
    fails(command.arg(&other).arg("--public").arg(&other), &["is both the file"])?;
    ensure!(fs::read_dir(dir.path())?.count() == 3, "something was left behind");
    Ok(())
}

fn no_directory() -> Result<()> {
    let words = ["cannot write `/nowhere/node.pem`: no such file or directory\n", "hint: "];
    fails(&mut keycell(&["keygen", "/nowhere/node.pem"])?, &words)
}

fn keys_of_a_directory() -> Result<()> {
    let dir = made("p256", "P-256")?;
    let file = dir.path().join("node.pem");
    fs::write(dir.path().join("README"), "no key")?;
    let listed = succeeds(keycell(&["keys"])?.arg(dir.path()))?;
    ensure!(listed.lines().count() == 3 && listed.starts_with("P-256 "), "{listed}");
    ensure!(listed.contains("README`: not a key in PEM, DER, JWK or OpenPGP form\n"), "{listed}");
    let json: Value =
        serde_json::from_str(&succeeds(keycell(&["keys", "--json"])?.arg(dir.path()))?)?;
    let key = &json["keys"][0];
    let fingerprint = key["fingerprint"].as_str().context("no fingerprint")?;
    ensure!(key["kind"] == "P-256" && listed.contains(fingerprint), "{json}");
    ensure!(json["skipped"][1]["reason"] == "a public key, not a private one", "{json}");
    // It is read as by the decoder: a link out of the directory is not followed.
    let outside = made("p384", "P-384")?;
    std::os::unix::fs::symlink(outside.path().join("node.pem"), dir.path().join("other.pem"))?;
    let listed = succeeds(keycell(&["keys"])?.arg(dir.path()))?;
    ensure!(!listed.contains("P-384"), "{listed}");
    fs::remove_file(file)?;
    fails(keycell(&["keys"])?.arg(dir.path()), &["there is no private key in these files"])
}

fn public_key() -> Result<()> {
    let dir = made("p256", "P-256")?;
    let printed = succeeds(keycell(&["keys", "--public"])?.arg(dir.path().join("node.pem")))?;
    ensure!(printed.as_bytes() == fs::read(dir.path().join("node.pub.pem"))?, "{printed}");
    let public = dir.path().join("node.pub.pem");
    let words = ["there is no private key in these files", "hint: "];
    fails(keycell(&["keys", "--public"])?.arg(public), &words)?;
    succeeds(keycell(&["keygen"])?.arg(dir.path().join("other.pem")))?;
    let words = ["there are 2 private keys in these files", "name one file with one private key"];
    fails(keycell(&["keys", "--public"])?.arg(dir.path()), &words)
}
