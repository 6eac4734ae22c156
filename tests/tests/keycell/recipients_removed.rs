//! `keycell recipients remove`: the others open the layers as before, with every program.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding as _};
use keycell_tests::gpg::Gpg;
use keycell_tests::image::Image;
use keycell_tests::layout::layers;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

use crate::keygen::warned;
use crate::recipients::decrypted_by_skopeo;
use crate::{fails, keycell};

pub(crate) fn cases(suite: &mut Suite) {
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("keycell/recipients-remove/{name}"), tools, run);
    };
    let with_gpg: Vec<Tool> = Tool::IMAGES.into_iter().chain([Tool::Gpg]).collect();
    case("jwe", &Tool::IMAGES, jwe);
    case("jwe-of-skopeo", &Tool::IMAGES, jwe_of_skopeo);
    case("pkcs7", &Tool::IMAGES, || pkcs7("go"));
    case("pkcs7-read-by-openssl", &Tool::IMAGES, || pkcs7("auth-enveloped"));
    case("pgp", &with_gpg, pgp);
    case("nobody", &[Tool::Openssl], nobody);
}

/// An image with keys `one` and `two`.
struct Made {
    dir: TempDir,
    image: Image,
}

impl Made {
    fn new() -> Result<Self> {
        let dir = TempDir::new()?;
        let image = Image::busybox(dir.path())?;
        image.copy(&[], &format!("oci:{}:image", dir.path().join("plain").display()))?;
        let made = Self { dir, image };
        for name in ["one", "two"] {
            let mut command = keycell(&["keygen", "--type", "rsa3072"])?;
            let public = made.file(&format!("{name}.pub.pem"));
            warned(command.arg(made.file(&format!("{name}.pem"))).args(["--public", &public]))?;
        }
        Ok(made)
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn name(&self, name: &str) -> String {
        format!("oci:{}:image", self.file(name))
    }

    fn encrypt(&self, args: &[&str]) -> Result<()> {
        let (from, to) = (self.name("plain"), self.name("encrypted"));
        warned(keycell(&["encrypt", &from, &to])?.args(args)).map(drop)
    }

    fn remove(&self, args: &[&str]) -> Result<String> {
        let (from, to) = (self.name("encrypted"), self.name("less"));
        let said = warned(keycell(&["recipients", "remove", &from, &to])?.args(args))?;
        ensure!(said.contains("this revokes nothing"), "{said}");
        // The layers are the same blobs.
        let digests = |name: &str| -> Result<Vec<_>> {
            let layers = layers(Path::new(&self.file(name)))?;
            Ok(layers.into_iter().map(|layer| layer["digest"].clone()).collect())
        };
        ensure!(digests("encrypted")? == digests("less")?, "the layers have changed");
        Ok(said)
    }

    /// Whether a private key decrypts what is left.
    fn opens(&self, key: &str) -> Result<bool> {
        let to = self.name(&format!("plain-{key}"));
        let mut command = keycell(&["decrypt", &self.name("less"), &to, "--keys"])?;
        let is_opened = command.arg(self.file(key)).arg("--force").output()?.status.success();
        Ok(is_opened)
    }

    fn skopeo_decrypts(&self, keys: &[&str]) -> Result<()> {
        let keys: Vec<_> = keys.iter().map(|key| self.dir.path().join(key)).collect();
        let keys: Vec<_> = keys.iter().map(AsRef::as_ref).collect();
        let less = self.dir.path().join("less");
        decrypted_by_skopeo(&self.image, &less, &keys, &Gpg::new()?)
    }

    fn only_two_opens(&self) -> Result<()> {
        ensure!(self.opens("two.pem")?, "the recipient that stays does not open it");
        ensure!(!self.opens("one.pem")?, "the recipient that was removed opens it");
        Ok(())
    }
}

fn jwe() -> Result<()> {
    let made = Made::new()?;
    let recipients = ["one", "two"].map(|name| format!("jwe:{}.pub.pem", made.file(name)));
    made.encrypt(&["-r", &recipients[0], "-r", &recipients[1]])?;
    let said = made.remove(&["-r", &recipients[0]])?;
    ensure!(said.contains("removed `jwe: RSA-3072 (RSA-OAEP)` from 2 layers\n"), "{said}");
    made.only_two_opens()?;
    made.skopeo_decrypts(&["two.pem"])?;
    let (from, to) = (made.name("less"), made.name("none"));
    let command = ["recipients", "remove", &from, &to, "-r", &recipients[1]];
    fails(&mut keycell(&command)?, &["the last recipient cannot be removed", "hint: "])?;
    let command = ["recipients", "remove", &from, &to, "-r", &recipients[0]];
    let words = ["no recipient fits `jwe:", "there is `jwe: RSA-3072 (RSA-OAEP)`", "hint: "];
    fails(&mut keycell(&command)?, &words)?;
    ensure!(!Path::new(&made.file("none")).exists(), "a failure left something behind");
    Ok(())
}

/// It names no key, so the private key tells.
fn jwe_of_skopeo() -> Result<()> {
    let made = Made::new()?;
    let recipients = ["one", "two"].map(|name| format!("jwe:{}.pub.pem", made.file(name)));
    let options = ["--encryption-key", &recipients[0], "--encryption-key", &recipients[1]];
    made.image.copy(&options, &made.name("encrypted"))?;
    let (from, to) = (made.name("encrypted"), made.name("less"));
    let command = ["recipients", "remove", &from, &to, "-r", &recipients[0]];
    fails(&mut keycell(&command)?, &["no recipient fits", "`--key FILE` with the private key"])?;
    made.remove(&["--key", &made.file("one.pem")])?;
    made.only_two_opens()?;
    made.skopeo_decrypts(&["two.pem"])
}

fn pkcs7(form: &str) -> Result<()> {
    let made = Made::new()?;
    for name in ["one", "two"] {
        let (key, certificate) = (made.file(&format!("{name}.pem")), made.file(name));
        let subject = format!("/CN={name}");
        let args = ["req", "-x509", "-subj", &subject, "-days", "3", "-key", &key, "-out"];
        Tool::Openssl.run(args.iter().copied().chain([certificate.as_str()]))?;
    }
    let recipients = ["one", "two"].map(|name| format!("pkcs7:{}", made.file(name)));
    made.encrypt(&["-r", &recipients[0], "-r", &recipients[1], "--pkcs7-form", form])?;
    made.remove(&["-r", &recipients[0]])?;
    made.only_two_opens()?;
    if form == "go" {
        return made.skopeo_decrypts(&["two.pem", "two"]);
    }
    let layer = layers(Path::new(&made.file("less")))?.swap_remove(0);
    let wrapped = layer["annotations"]["org.opencontainers.image.enc.keys.pkcs7"].as_str();
    let message = made.file("message.der");
    fs::write(&message, Base64::decode_vec(wrapped.context("no wrapped key")?)?)?;
    let (key, certificate) = (made.file("two.pem"), made.file("two"));
    let args = ["cms", "-decrypt", "-inform", "DER", "-in", &message, "-inkey", &key, "-recip"];
    let args = args.iter().copied().chain([certificate.as_str()]);
    let options = Tool::Openssl.run(args)?;
    ensure!(options.starts_with(b"{\"symkey\":"), "openssl reads something else");
    Ok(())
}

fn pgp() -> Result<()> {
    let made = Made::new()?;
    let gpg = Gpg::new()?;
    for (user, subkey) in [("one@example.org", "cv25519"), ("two@example.org", "rsa3072")] {
        let primary = if subkey == "cv25519" { "ed25519" } else { subkey };
        gpg.generate(user, primary, subkey)?;
        fs::write(made.file(user), gpg.secret(user)?)?;
    }
    let ring = made.file("ring.gpg");
    fs::write(&ring, [gpg.public("one@example.org")?, gpg.public("two@example.org")?].concat())?;
    let keyring = ["--pgp-keyring", &ring];
    let recipients = ["-r", "pgp:one@example.org", "-r", "pgp:two@example.org"];
    made.encrypt(&[&recipients[..], &keyring].concat())?;
    let said = made.remove(&[&recipients[..2], &keyring].concat())?;
    ensure!(made.opens("two@example.org")? && !made.opens("one@example.org")?, "{said}");
    made.skopeo_decrypts(&["two@example.org"])?;
    // The key ID, as the message has it.
    let id = said.split("`pgp: key ").nth(1).and_then(|rest| rest.split('`').next());
    let selected = format!("pgp:{}", id.context("no key ID")?);
    fs::remove_dir_all(made.file("less"))?;
    made.remove(&["-r", &selected])?;
    ensure!(made.opens("two@example.org")?, "the recipient that stays does not open it");
    Ok(())
}

fn nobody() -> Result<()> {
    let words = ["the argument `--recipient <RECIPIENT>` is missing", "hint: "];
    let output = keycell(&["recipients", "remove", "oci:a", "oci:b"])?.output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{stderr}");
    for word in words {
        ensure!(stderr.contains(word), "{stderr}");
    }
    Ok(())
}
