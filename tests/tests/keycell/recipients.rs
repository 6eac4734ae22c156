//! For whom an image is encrypted, and which of its layers.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use keycell_tests::gpg::Gpg;
use keycell_tests::image::Image;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::layout::{self, IN_TOTO, TAR, layers, plain};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

use crate::{fails, keycell, says, succeeds};

pub(crate) fn cases(suite: &mut Suite) {
    let images = |name: &str| -> Vec<Tool> {
        let gpg = name.contains("pgp").then_some(Tool::Gpg);
        Tool::IMAGES.into_iter().chain(gpg).collect()
    };
    let mut case = |name: &str, tools: &[Tool], run: fn() -> Result<()>| {
        suite.case(format!("keycell/{name}"), tools, run);
    };
    case("jwe/rsa-to-skopeo", &images(""), || to_skopeo("jwe", KeyKind::Rsa(2048), &[]));
    case("jwe/rsa-with-sha-256-to-skopeo", &images(""), || {
        to_skopeo("jwe", KeyKind::Rsa(2048), &["--jwe-oaep-hash", "sha256"])
    });
    case("jwe/p-256-to-skopeo", &images(""), || to_skopeo("jwe", KeyKind::P256, &[]));
    case("pkcs7/to-skopeo", &images(""), || to_skopeo("pkcs7", KeyKind::Rsa(2048), &[]));
    case("pgp/to-skopeo", &images("pgp"), pgp_to_skopeo);
    case("jwe/from-skopeo", &images(""), from_skopeo);
    case("all-platforms", &[Tool::Openssl], all_platforms);
    case("chosen-platform", &[Tool::Openssl], chosen_platform);
    case("chosen-layer", &[Tool::Openssl], chosen_layer);
    case("recipient-added", &[Tool::Openssl], recipient_added);
    case("into-a-layout-that-is-there", &[Tool::Openssl], into_a_layout_that_is_there);
    case("inspect", &[Tool::Openssl], inspect);
    case("progress-on-a-terminal", &[Tool::Openssl], progress_on_a_terminal);
}

/// A directory with an image for two platforms in `plain`, and a key pair.
pub(crate) struct Made {
    pub dir: TempDir,
    pub key: KeyPair,
}

impl Made {
    pub(crate) fn new() -> Result<Self> {
        let made = Self::without_image()?;
        layout::make(&made.path("plain"))?;
        Ok(made)
    }

    /// The key pair alone.
    pub(crate) fn without_image() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-cli-")?;
        let key = KeyPair::generate(dir.path(), "node", KeyKind::P256)?;
        fs::create_dir(dir.path().join("keys"))?;
        key.install(KeyForm::Pkcs8Pem, &dir.path().join("keys"))?;
        Ok(Self { dir, key })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `oci:DIR:demo` of this directory.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("oci:{}:demo", self.path(name).display())
    }

    pub(crate) fn recipient(&self) -> String {
        format!("jwe:{}", self.key.public().display())
    }

    pub(crate) fn keys(&self) -> String {
        self.path("keys").display().to_string()
    }

    /// Encrypts the image, whose attestation stays readable, and returns what is said. The digest that
    /// is printed is that of the image.
    pub(crate) fn encrypt(&self, more: &[&str]) -> Result<String> {
        let (from, to) = (self.name("plain"), self.name("encrypted"));
        let recipient = self.recipient();
        let args = ["encrypt", &from, &to, "-r", &recipient, "--allow-unencrypted", IN_TOTO];
        let (digest, said) = says(keycell(&args)?.args(more))?;
        let index = fs::read_to_string(self.path("encrypted").join("index.json"))?;
        ensure!(index.contains(&format!("\"{}\"", digest.trim_end())), "{digest} in {index}");
        Ok(said)
    }

    /// Encrypts an image of which nothing needs to stay readable, and returns what is said.
    pub(crate) fn encrypt_plain(&self) -> Result<String> {
        let (from, to) = (self.name("plain"), self.name("encrypted"));
        Ok(says(&mut keycell(&["encrypt", &from, &to, "-r", &self.recipient()])?)?.1)
    }

    /// Whether there is nothing but the image, the keys and the public key.
    pub(crate) fn is_alone(&self) -> Result<bool> {
        let names = fs::read_dir(self.dir.path())?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<Result<Vec<_>>>()?;
        let known = |name: &&std::ffi::OsString| {
            *name == "plain" || *name == "keys" || name.to_string_lossy().starts_with("node")
        };
        Ok(names.iter().all(|name| known(&name)))
    }

    /// Decrypts and compares every blob with what it was.
    pub(crate) fn decrypts(&self) -> Result<()> {
        let (from, to) = (self.name("encrypted"), self.name("decrypted"));
        succeeds(&mut keycell(&["decrypt", &from, &to, "--keys", &self.keys()])?)?;
        let strip = |name: &str| -> Result<Vec<_>> {
            let root = self.path(name);
            let files = layout::state(&root)?.into_iter();
            files.map(|(path, bytes)| Ok((path.strip_prefix(&root)?.to_owned(), bytes))).collect()
        };
        let (plain, decrypted) = (strip("plain")?, strip("decrypted")?);
        for (path, bytes) in &plain {
            let found = decrypted.iter().find(|(other, _)| other == path);
            let (_, found) = found.with_context(|| format!("{} is gone", path.display()))?;
            let is_json = path.ends_with("index.json");
            ensure!(is_json || found == bytes, "{} is another", path.display());
        }
        ensure!(plain.len() == decrypted.len(), "there are other files");
        Ok(())
    }
}

fn to_skopeo(scheme: &str, kind: KeyKind, more: &[&str]) -> Result<()> {
    let dir = TempDir::new()?;
    let image = Image::busybox(dir.path())?;
    let key = KeyPair::generate(dir.path(), "key", kind)?;
    let private = dir.path().join("private.pem");
    fs::write(&private, key.private(KeyForm::Pkcs8Pem)?)?;
    let certificate = dir.path().join("certificate.pem");
    let shown = private.display().to_string();
    let subject = ["req", "-x509", "-subj", "/CN=node", "-days", "3", "-key", &shown, "-out"];
    Tool::Openssl.run(subject.iter().map(AsRef::as_ref).chain([certificate.as_os_str()]))?;
    let public = if scheme == "jwe" { key.public() } else { &certificate };
    let recipient = format!("{scheme}:{}", public.display());
    let home = Gpg::new()?;
    let encrypted = dir.path().join("encrypted");
    image.copy(&[], &format!("oci:{}:image", dir.path().join("copy").display()))?;
    let (from, to) = (
        format!("oci:{}:image", dir.path().join("copy").display()),
        format!("oci:{}:image", encrypted.display()),
    );
    succeeds(keycell(&["encrypt", &from, &to, "-r", &recipient])?.args(more))?;
    decrypted_by_skopeo(&image, &encrypted, &[&private, &certificate], &home)
}

fn pgp_to_skopeo() -> Result<()> {
    let dir = TempDir::new()?;
    let image = Image::busybox(dir.path())?;
    let gpg = Gpg::new()?;
    gpg.generate("Node <node@example.org>", "rsa2048", "rsa2048")?;
    let secret = dir.path().join("secret.gpg");
    fs::write(&secret, gpg.secret("node@example.org")?)?;
    let copy = format!("oci:{}:image", dir.path().join("copy").display());
    image.copy(&[], &copy)?;
    let encrypted = dir.path().join("encrypted");
    let to = format!("oci:{}:image", encrypted.display());
    let mut command = keycell(&["encrypt", &copy, &to, "-r", "pgp:node@example.org"])?;
    succeeds(command.env("GNUPGHOME", gpg.home()))?;
    let home = Gpg::new()?;
    decrypted_by_skopeo(&image, &encrypted, &[&secret], &home)?;
    // Without a gpg: from a file.
    let ring = dir.path().join("ring.gpg");
    fs::write(&ring, gpg.public("node@example.org")?)?;
    let again = dir.path().join("again");
    let to = format!("oci:{}:image", again.display());
    let mut command = keycell(&["encrypt", &copy, &to, "-r", "pgp:node@example.org"])?;
    succeeds(command.arg("--pgp-keyring").arg(&ring).env("GNUPGHOME", home.home()))?;
    decrypted_by_skopeo(&image, &again, &[&secret], &home)
}

pub(crate) fn decrypted_by_skopeo(
    plain: &Image,
    encrypted: &std::path::Path,
    keys: &[&std::path::Path],
    home: &Gpg,
) -> Result<()> {
    let to = encrypted.with_extension("plain");
    let from = format!("oci:{}:image", encrypted.display());
    let mut command = std::process::Command::new(Tool::Skopeo.find()?);
    command.args(["--insecure-policy", "copy", "--quiet"]);
    keys.iter().for_each(|key| _ = command.arg("--decryption-key").arg(key));
    command.arg(from).arg(format!("oci:{}:image", to.display()));
    keycell_tests::tools::output(command.env("GNUPGHOME", home.home()))?;
    let found = layers(&to)?;
    for (expected, found) in plain.layers()?.iter().zip(&found) {
        ensure!(found["digest"] == *expected.digest, "another layer");
        ensure!(found["mediaType"] == *expected.media_type, "another media type");
        ensure!(layout::read(&to, found)? == plain.blob(expected)?, "other bytes");
    }
    ensure!(found.len() == plain.layers()?.len(), "another number of layers");
    Ok(())
}

fn from_skopeo() -> Result<()> {
    let dir = TempDir::new()?;
    let plain = Image::busybox(dir.path())?;
    let key = KeyPair::generate(dir.path(), "key", KeyKind::P384)?;
    let encrypted = plain.encrypted(&dir.path().join("encrypted"), &[key.public()])?;
    let keys = dir.path().join("keys");
    fs::create_dir(&keys)?;
    key.install(KeyForm::Sec1Pem, &keys)?;
    let (from, to) = (dir.path().join("encrypted"), dir.path().join("decrypted"));
    let mut command = keycell(&["decrypt"])?;
    let name = |path: &PathBuf| format!("oci:{}", path.display());
    succeeds(command.args([name(&from), name(&to)]).arg("--keys").arg(&keys))?;
    let found = layers(&to)?;
    for (expected, found) in plain.layers()?.iter().zip(&found) {
        ensure!(layout::read(&to, found)? == plain.blob(expected)?, "other bytes");
        ensure!(found["annotations"].is_null(), "annotations of encryption stay: {found}");
    }
    ensure!(found.len() == encrypted.layers()?.len());
    Ok(())
}

fn all_platforms() -> Result<()> {
    let made = Made::new()?;
    let before = layout::state(&made.path("plain"))?;
    let said = made.encrypt(&[])?;
    ensure!(said.starts_with("encrypted 3 layers for `jwe:"), "{said}");
    ensure!(layout::state(&made.path("plain"))? == before, "the source has changed");
    let found = layers(&made.path("encrypted"))?;
    for layer in &found[..3] {
        ensure!(layer["mediaType"] == format!("{TAR}+encrypted"), "{layer}");
        layout::read(&made.path("encrypted"), layer)?;
    }
    ensure!(found[3]["mediaType"] == "application/vnd.in-toto+json", "{}", found[3]);
    // The image that is passed on contains no plain layer.
    for (path, bytes) in layout::state(&made.path("encrypted"))? {
        let leaks = ["one", "two", "three"].iter().any(|name| bytes == plain(name));
        ensure!(!leaks, "{} is a plain layer", path.display());
    }
    made.decrypts()
}

fn chosen_platform() -> Result<()> {
    let made = Made::new()?;
    let said = made.encrypt(&["--platform", "linux/arm64"])?;
    ensure!(said.starts_with("encrypted 1 layer for"), "{said}");
    let found = layers(&made.path("encrypted"))?;
    let types: Vec<_> = found.iter().map(|layer| layer["mediaType"] == *TAR).collect();
    ensure!(types == [true, true, false, false], "{types:?}");
    made.decrypts()
}

fn chosen_layer() -> Result<()> {
    let made = Made::new()?;
    made.encrypt(&["--layer", "2"])?;
    let found = layers(&made.path("encrypted"))?;
    let types: Vec<_> = found.iter().map(|layer| layer["mediaType"] == *TAR).collect();
    ensure!(types == [true, false, true, false], "{types:?}");
    made.decrypts()
}

fn recipient_added() -> Result<()> {
    let made = Made::new()?;
    made.encrypt(&[])?;
    let other = KeyPair::generate(made.dir.path(), "other", KeyKind::P521)?;
    let recipient = format!("jwe:{}", other.public().display());
    let (from, to) = (made.name("encrypted"), made.name("more"));
    let command = ["encrypt", &from, &to, "-r", &recipient, "--allow-unencrypted", IN_TOTO];
    fails(&mut keycell(&command)?, &["layer 1", "encrypted already", "`--keys`"])?;
    ensure!(!made.path("more").exists(), "a failure left something behind");
    let (_, said) = says(keycell(&command)?.args(["--keys", &made.keys()]))?;
    ensure!(said.starts_with("added to 3 layers: `jwe:"), "{said}");
    let (before, after) = (layers(&made.path("encrypted"))?, layers(&made.path("more"))?);
    for (before, after) in before.iter().zip(&after) {
        ensure!(before["digest"] == after["digest"], "the layer itself has changed");
    }
    let keys = made.path("other-keys");
    fs::create_dir(&keys)?;
    other.install(KeyForm::Pkcs8Pem, &keys)?;
    for keys in [keys, made.path("keys")] {
        let to = format!("oci:{}:demo", keys.with_extension("plain").display());
        let mut command = keycell(&["decrypt", &made.name("more"), &to, "--keys"])?;
        succeeds(command.arg(&keys))?;
    }
    Ok(())
}

/// The other images of the layout stay; one with the same tag is replaced.
fn into_a_layout_that_is_there() -> Result<()> {
    let made = Made::new()?;
    let plain = made.name("plain");
    let twice = format!("oci:{}", made.path("plain").display());
    let recipient = made.recipient();
    let to = format!("{twice}:encrypted");
    let args = ["encrypt", &plain, &to, "-r", &recipient, "--drop-attestations"];
    succeeds(&mut keycell(&args)?)?;
    fails(&mut keycell(&args)?, &["is there already", "`--force`"])?;
    succeeds(keycell(&args)?.arg("--force"))?;
    let index = fs::read_to_string(made.path("plain").join("index.json"))?;
    ensure!(index.matches("ref.name").count() == 2, "{index}");
    fails(&mut keycell(&["inspect", &twice])?, &["names 2 images", "plain:demo`", &to])?;
    let said = succeeds(&mut keycell(&["inspect", &plain])?)?;
    ensure!(!said.contains("+encrypted"), "{said}");
    let said = succeeds(&mut keycell(&["inspect", &to])?)?;
    ensure!(said.matches("+encrypted").count() == 3, "{said}");
    Ok(())
}

fn inspect() -> Result<()> {
    let made = Made::new()?;
    let other = KeyPair::generate(made.dir.path(), "other", KeyKind::P384)?;
    made.encrypt(&["-r", &format!("jwe:{}", other.public().display()), "--layer", "1"])?;
    let name = made.name("encrypted");
    let said = succeeds(&mut keycell(&["inspect", &name])?)?;
    for words in [
        "linux/amd64:\n",
        "linux/arm64:\n",
        "+encrypted, 700000 bytes, encrypted: 1 jwe wrapped key\n",
        "  for jwe: P-384 (ECDH-ES+A256KW)\n",
        "  for jwe: P-256 (ECDH-ES+A256KW)\n",
        "layer 2: application/vnd.oci.image.layer.v1.tar, 700000 bytes, not encrypted\n",
    ] {
        ensure!(said.contains(words), "nothing of `{words}`: {said}");
    }
    let said = succeeds(&mut keycell(&["inspect", &name, "--keys", &made.keys()])?)?;
    ensure!(said.contains("  opened by P-256 `key`"), "{said}");
    let empty = made.path("empty");
    fs::create_dir(&empty)?;
    let said = succeeds(keycell(&["inspect", &name, "--keys"])?.arg(&empty))?;
    ensure!(said.contains("  no key of these opens it"), "{said}");
    Ok(())
}

/// `script` lends a terminal. Without one nothing is said on the way: see `succeeds`.
fn progress_on_a_terminal() -> Result<()> {
    let made = Made::new()?;
    let keycell = keycell_tests::dist("keycell")?;
    let (from, to, recipient) = (made.name("plain"), made.name("encrypted"), made.recipient());
    let keycell = keycell.display();
    let line = format!("{keycell} encrypt {from} {to} -r {recipient} --drop-attestations");
    let output =
        std::process::Command::new("script").args(["-qec", &line, "/dev/null"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    ensure!(said.contains(" of 2.00 MiB, ") && said.contains("encrypted 3 layers"), "{said}");
    Ok(())
}
