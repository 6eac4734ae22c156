//! Images that are encrypted here, decrypted by `skopeo copy --decryption-key`: every layer must
//! come out byte for byte as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};
use getrandom::SysRng;
use keycell_tests::gpg::Gpg;
use keycell_tests::image::{Descriptor, Image};
use keycell_tests::keys::{KeyKind, KeyPair};
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use ocicrypt::annotation::{PUBLIC_OPTIONS, Scheme};
use ocicrypt::encrypt::{self, Recipient};
use ocicrypt::keyring::KeyRing;
use ocicrypt::media_type;
use ocicrypt::payload::{self, Payload};
use ocicrypt::unwrap::unwrap;
use tempfile::TempDir;

use crate::{certificate, jwe, pkcs7, private};

/// The image that all cases encrypt.
#[derive(Default)]
pub struct Plain(OnceLock<Result<(TempDir, Image), String>>);

impl Plain {
    fn image(&self) -> Result<&Image> {
        let made = self.0.get_or_init(|| {
            let make = || -> Result<_> {
                let dir = TempDir::new()?;
                let image = Image::busybox(dir.path())?;
                Ok((dir, image))
            };
            make().map_err(|error| format!("{error:#}"))
        });
        let (_, image) = made.as_ref().map_err(|error| anyhow!("{error}"))?;
        Ok(image)
    }
}

type Run = Box<dyn FnOnce(&Plain) -> Result<()> + Send>;

pub fn add(suite: &mut Suite) -> Arc<Plain> {
    let plain = Arc::new(Plain::default());
    let mut case = |name: String, tools: &[Tool], run: Run| {
        let plain = plain.clone();
        let tools = [&Tool::IMAGES[..], tools].concat();
        suite.case(format!("skopeo/{name}"), &tools, move || run(&plain));
    };
    for kind in KeyKind::ALL {
        case(format!("jwe/{kind}"), &[], Box::new(move |plain| one_jwe(plain, kind)));
    }
    for kind in [KeyKind::Rsa(2048), KeyKind::Rsa(4096)] {
        case(format!("pkcs7/{kind}"), &[], Box::new(move |plain| one_pkcs7(plain, kind)));
        let name = kind.to_string();
        case(format!("pgp/{kind}"), &[Tool::Gpg], Box::new(move |plain| one_pgp(plain, &name)));
    }
    for which in 0..3 {
        case(
            format!("three-recipients/jwe/{which}"),
            &[],
            Box::new(move |plain| three_jwe(plain, which)),
        );
        case(
            format!("three-recipients/pkcs7/{which}"),
            &[],
            Box::new(move |plain| three_pkcs7(plain, which)),
        );
        case(
            format!("three-recipients/pgp/{which}"),
            &[Tool::Gpg],
            Box::new(move |plain| three_pgp(plain, which)),
        );
        case(
            format!("three-schemes/{which}"),
            &[Tool::Gpg],
            Box::new(move |plain| three_schemes(plain, which)),
        );
    }
    case("added/to-an-image-of-skopeo".to_owned(), &[], Box::new(added));
    plain
}

/// Encrypts an image for `recipients`, has skopeo decrypt it with these keys, and compares.
fn decrypts(plain: &Plain, recipients: &[Recipient], keys: &[&Path]) -> Result<()> {
    let plain = plain.image()?;
    let dir = TempDir::new()?;
    let mut layers = Vec::new();
    for layer in plain.layers()? {
        let mut bytes = plain.blob(&layer)?;
        let (_, annotations) = crate::encrypt(&mut bytes, recipients)?;
        let media_type = media_type::encrypted(&layer.media_type).context("no layer's type")?;
        layers.push((Descriptor { media_type, annotations, ..layer }, bytes));
    }
    let image = plain.with_layers(&dir.path().join("encrypted"), layers)?;
    // Without a key it stays what it is.
    let empty = dir.path().join("empty");
    fs::write(&empty, "")?;
    ensure!(image.decrypted(&dir.path().join("none"), &[&empty], &[]).is_err(), "not encrypted");
    same(plain, &decrypted(&image, dir.path(), keys)?)
}

/// An empty GNUPGHOME: skopeo asks gpg for keys too.
fn decrypted(image: &Image, dir: &Path, keys: &[&Path]) -> Result<Image> {
    let home = Gpg::new()?;
    image.decrypted(&dir.join("decrypted"), keys, &[("GNUPGHOME", home.home())])
}

fn same(plain: &Image, decrypted: &Image) -> Result<()> {
    let (expected, found) = (plain.layers()?, decrypted.layers()?);
    ensure!(expected.len() == found.len());
    for (expected, found) in expected.iter().zip(&found) {
        ensure!(found.media_type == expected.media_type, "still {}", found.media_type);
        ensure!(found.digest == expected.digest, "another digest");
        ensure!(decrypted.blob(found)? == plain.blob(expected)?, "another layer");
    }
    Ok(())
}

fn one_jwe(plain: &Plain, kind: KeyKind) -> Result<()> {
    let dir = TempDir::new()?;
    let key = KeyPair::generate(dir.path(), "key", kind)?;
    decrypts(plain, &[jwe(&key)?], &[&private(&key)?])
}

fn one_pkcs7(plain: &Plain, kind: KeyKind) -> Result<()> {
    let dir = TempDir::new()?;
    let key = KeyPair::generate(dir.path(), "key", kind)?;
    decrypts(plain, &[pkcs7(&key)?], &[&private(&key)?, &certificate(&key)?])
}

/// A user of GnuPG: who can be written to, and the file with the secret key.
fn pgp(dir: &Path, name: &str, kind: &str) -> Result<(Vec<Recipient>, PathBuf)> {
    let gpg = Gpg::new()?;
    let address = format!("{name}@example.org");
    gpg.generate(&format!("{name} <{address}>"), kind, kind)?;
    let secret = dir.join(format!("{name}.gpg"));
    fs::write(&secret, gpg.secret(&address)?)?;
    let public = gpg.public(&address)?;
    let recipients = Recipient::pgp(&public, &address.parse()?, SystemTime::now())?;
    Ok((recipients, secret))
}

fn one_pgp(plain: &Plain, kind: &str) -> Result<()> {
    let dir = TempDir::new()?;
    let (recipients, secret) = pgp(dir.path(), "alice", kind)?;
    decrypts(plain, &recipients, &[&secret])
}

fn three_jwe(plain: &Plain, which: usize) -> Result<()> {
    let dir = TempDir::new()?;
    let kinds = [KeyKind::Rsa(2048), KeyKind::P256, KeyKind::P521];
    let keys = kinds.map(|kind| KeyPair::generate(dir.path(), &kind.to_string(), kind));
    let keys = keys.into_iter().collect::<Result<Vec<_>>>()?;
    let recipients = keys.iter().map(jwe).collect::<Result<Vec<_>>>()?;
    decrypts(plain, &recipients, &[&private(&keys[which])?])
}

fn three_pkcs7(plain: &Plain, which: usize) -> Result<()> {
    let dir = TempDir::new()?;
    let bits = [2048, 3072, 4096];
    let make = |bits: u32| KeyPair::generate(dir.path(), &bits.to_string(), KeyKind::Rsa(bits));
    let keys = bits.into_iter().map(make).collect::<Result<Vec<_>>>()?;
    let recipients = keys.iter().map(pkcs7).collect::<Result<Vec<_>>>()?;
    decrypts(plain, &recipients, &[&private(&keys[which])?, &certificate(&keys[which])?])
}

fn three_pgp(plain: &Plain, which: usize) -> Result<()> {
    let dir = TempDir::new()?;
    let users = ["alice", "bob", "carol"].map(|name| pgp(dir.path(), name, "rsa2048"));
    let users = users.into_iter().collect::<Result<Vec<_>>>()?;
    let recipients: Vec<_> = users.iter().flat_map(|(recipients, _)| recipients.clone()).collect();
    decrypts(plain, &recipients, &[&users[which].1])
}

fn three_schemes(plain: &Plain, which: usize) -> Result<()> {
    let dir = TempDir::new()?;
    let first = KeyPair::generate(dir.path(), "first", KeyKind::P384)?;
    let second = KeyPair::generate(dir.path(), "second", KeyKind::Rsa(2048))?;
    let (mut recipients, secret) = pgp(dir.path(), "alice", "rsa2048")?;
    recipients.extend([jwe(&first)?, pkcs7(&second)?]);
    let keys =
        [vec![private(&first)?], vec![private(&second)?, certificate(&second)?], vec![secret]];
    let keys: Vec<_> = keys[which].iter().map(PathBuf::as_path).collect();
    decrypts(plain, &recipients, &keys)
}

/// skopeo encrypts for one, a second is added here, and skopeo decrypts for either.
fn added(plain: &Plain) -> Result<()> {
    let plain = plain.image()?;
    let dir = TempDir::new()?;
    let first = KeyPair::generate(dir.path(), "first", KeyKind::P256)?;
    let second = KeyPair::generate(dir.path(), "second", KeyKind::Rsa(2048))?;
    let image = plain.encrypted(&dir.path().join("skopeo"), &[first.public()])?;
    let mut ring = KeyRing::new();
    ring.add_file("first", &fs::read(private(&first)?)?);
    let mut layers = Vec::new();
    for layer in image.layers()? {
        let json = serde_json::json!({ "DecryptConfig": null, "Descriptor": layer });
        let payload = Payload::parse(&payload::encode(&serde_json::to_vec(&json)?))?;
        let key = unwrap(&payload, &ring, &mut SysRng)?;
        let recipients = [jwe(&second)?, pkcs7(&second)?];
        let annotations =
            encrypt::add_recipients(&layer.annotations, &key, &recipients, &mut SysRng)?;
        keeps(&layer.annotations, &annotations)?;
        let bytes = image.blob(&layer)?;
        layers.push((Descriptor { annotations, ..layer }, bytes));
    }
    let image = image.with_layers(&dir.path().join("added"), layers)?;
    for (name, key) in [("first", &first), ("second", &second)] {
        let dir = dir.path().join(name);
        fs::create_dir(&dir)?;
        same(plain, &decrypted(&image, &dir, &[&private(key)?])?)?;
    }
    Ok(())
}

/// Whether everything that was there still is.
fn keeps(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Result<()> {
    let jwe = Scheme::Jwe.annotation();
    ensure!(after[PUBLIC_OPTIONS] == before[PUBLIC_OPTIONS]);
    ensure!(after[&jwe].starts_with(&format!("{},", before[&jwe])));
    ensure!(after.len() == before.len() + 1);
    Ok(())
}
