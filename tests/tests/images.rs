//! Layers that skopeo encrypted, decrypted as containerd would have them decrypted.
//!
//! Each must come out byte for byte as it was before. One case for each kind of key, packing of the
//! layer and form of the key's file; then the ways in which a key reaches the decoder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::memo::Memo;
use keycell_tests::payload::Payload;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let fixture = Arc::new(Fixture::default());

    for kind in KeyKind::ALL {
        for layer in LayerKind::ALL {
            for &form in kind.forms() {
                let fixture = fixture.clone();
                suite.case(format!("jwe/{kind}/{layer}/{form}"), &Tool::IMAGES, move || {
                    let (image, key) = fixture.encrypted(kind, layer)?;
                    let keys = TempDir::new()?;
                    key.install(form, keys.path())?;
                    decrypts(&fixture, &image, layer, &from_path(keys.path()))
                });
            }
        }
    }

    let mut case = |name: &str, run: fn(&Fixture) -> Result<()>| {
        let fixture = fixture.clone();
        suite.case(format!("key/{name}"), &Tool::IMAGES, move || run(&fixture));
    };
    case("in-the-payload", in_the_payload);
    case("in-the-payload-with-empty-directory", in_the_payload_with_empty_directory);
    case("in-a-directory-with-empty-parameters", in_a_directory_with_empty_parameters);
    case("in-a-file", in_a_file);
    case("in-a-nested-directory", in_a_nested_directory);
    case("in-a-kubernetes-secret", in_a_kubernetes_secret);
    case("among-files-that-are-no-keys", among_files_that_are_no_keys);
    case("of-the-first-recipient", |fixture| one_of_two_recipients(fixture, KeyKind::Rsa(2048)));
    case("of-the-second-recipient", |fixture| one_of_two_recipients(fixture, KeyKind::P256));
    case("of-nobody", of_nobody);
    suite.case("compressed-while-encrypted", &Tool::IMAGES, {
        let fixture = fixture.clone();
        move || compressed_while_encrypted(&fixture)
    });

    let outcome = suite.run();
    if let Some(fixture) = Arc::into_inner(fixture) {
        drop(fixture);
    }
    outcome
}

/// Ways to hand a key to the decoder: each builds on a call that has the layer and its descriptor.
type Handover<'a> = dyn Fn(Decoder, Payload) -> Decoder + 'a;

fn from_path(path: &Path) -> impl Fn(Decoder, Payload) -> Decoder {
    move |decoder, payload| decoder.keys(path).payload(payload.bytes())
}

/// Runs the decoder on every layer and compares each with the plain image's.
fn decrypts(
    fixture: &Fixture,
    image: &Image,
    kind: LayerKind,
    handover: &Handover<'_>,
) -> Result<()> {
    let plain = fixture.plain(kind)?;
    let layers = image.layers()?;
    for (index, (encrypted, expected)) in layers.iter().zip(plain.layers()?).enumerate() {
        let decoder =
            Decoder::new()?.media_type(&encrypted.media_type).layer(image.blob(encrypted)?);
        let decoded = handover(decoder, Payload::new(encrypted))
            .run()?
            .plaintext()
            .with_context(|| format!("layer {index}"))?;
        // Not `assert_eq!`: nobody wants to read two layers.
        ensure!(
            decoded == plain.blob(&expected)?,
            "layer {index}: {} bytes, {} expected, and they differ",
            decoded.len(),
            expected.size
        );
    }
    Ok(())
}

fn in_the_payload(fixture: &Fixture) -> Result<()> {
    let (image, key) = fixture.encrypted(KeyKind::P256, LayerKind::Gzip)?;
    let key = key.private(KeyForm::Pkcs8Pem)?;
    decrypts(fixture, &image, LayerKind::Gzip, &|decoder, payload| {
        decoder.payload(payload.private_key(&key).bytes())
    })
}

fn in_the_payload_with_empty_directory(fixture: &Fixture) -> Result<()> {
    let (image, key) = fixture.encrypted(KeyKind::Rsa(2048), LayerKind::Tar)?;
    let key = key.private(KeyForm::Pkcs1Der)?;
    let keys = TempDir::new()?;
    decrypts(fixture, &image, LayerKind::Tar, &|decoder, payload| {
        decoder.keys(keys.path()).payload(payload.private_key(&key).bytes())
    })
}

fn in_a_directory_with_empty_parameters(fixture: &Fixture) -> Result<()> {
    let (image, key) = fixture.encrypted(KeyKind::P384, LayerKind::Gzip)?;
    let keys = TempDir::new()?;
    key.install(KeyForm::Pkcs8Pem, keys.path())?;
    decrypts(fixture, &image, LayerKind::Gzip, &|decoder, payload| {
        decoder.keys(keys.path()).payload(payload.empty_parameters().bytes())
    })
}

fn in_a_file(fixture: &Fixture) -> Result<()> {
    let (image, key) = fixture.encrypted(KeyKind::Rsa(2048), LayerKind::Gzip)?;
    let keys = TempDir::new()?;
    let file = key.install(KeyForm::Pkcs8Pem, keys.path())?;
    decrypts(fixture, &image, LayerKind::Gzip, &from_path(&file))
}

fn in_a_nested_directory(fixture: &Fixture) -> Result<()> {
    let (image, key) = fixture.encrypted(KeyKind::P256, LayerKind::Tar)?;
    let keys = TempDir::new()?;
    let nested = keys.path().join("team/service");
    fs::create_dir_all(&nested)?;
    key.install(KeyForm::Pkcs8Der, &nested)?;
    decrypts(fixture, &image, LayerKind::Tar, &from_path(keys.path()))
}

/// The kubelet writes a Secret into a directory with a date for its name, and puts two links before
/// it, so that it can replace all files at once. Go ctd-decoder refuses any link.
fn in_a_kubernetes_secret(fixture: &Fixture) -> Result<()> {
    let (image, key) = fixture.encrypted(KeyKind::Rsa(2048), LayerKind::Gzip)?;
    let keys = TempDir::new()?;
    let version = "..2026_01_31_12_00_00.123456789";
    fs::create_dir(keys.path().join(version))?;
    fs::write(keys.path().join(version).join("tls.key"), key.private(KeyForm::Pkcs1Pem)?)?;
    symlink(version, keys.path().join("..data"))?;
    symlink("..data/tls.key", keys.path().join("tls.key"))?;
    decrypts(fixture, &image, LayerKind::Gzip, &from_path(keys.path()))
}

/// Go ctd-decoder gives up at the first of these; their names sort before the key's.
fn among_files_that_are_no_keys(fixture: &Fixture) -> Result<()> {
    let (image, key) = fixture.encrypted(KeyKind::P521, LayerKind::Gzip)?;
    let keys = TempDir::new()?;
    fs::write(keys.path().join(".gitkeep"), "")?;
    fs::write(keys.path().join("README"), "The keys of this node.\n")?;
    fs::copy(key.public(), keys.path().join("a.pub.pem"))?;
    fs::write(keys.path().join("b.pem"), "-----BEGIN PRIVATE KEY-----\nMIIB\n")?;
    fs::write(
        keys.path().join("c.pem"),
        fixture.key("stranger", KeyKind::P256)?.private(KeyForm::Pkcs8Pem)?,
    )?;
    key.install(KeyForm::Pkcs8Pem, keys.path())?;
    decrypts(fixture, &image, LayerKind::Gzip, &from_path(keys.path()))
}

fn one_of_two_recipients(fixture: &Fixture, kind: KeyKind) -> Result<()> {
    let (image, _) = fixture.for_two(KeyKind::Rsa(2048), KeyKind::P256, LayerKind::Gzip)?;
    let keys = TempDir::new()?;
    fixture.key(&kind.to_string(), kind)?.install(KeyForm::Pkcs8Pem, keys.path())?;
    decrypts(fixture, &image, LayerKind::Gzip, &from_path(keys.path()))
}

/// A key of the right kind that is no recipient's: nothing may come out, and a message must.
fn of_nobody(fixture: &Fixture) -> Result<()> {
    let (image, _) = fixture.encrypted(KeyKind::P256, LayerKind::Gzip)?;
    let keys = TempDir::new()?;
    fixture.key("stranger", KeyKind::P256)?.install(KeyForm::Pkcs8Pem, keys.path())?;
    for layer in image.layers()? {
        let outcome = Decoder::new()?
            .media_type(&layer.media_type)
            .keys(keys.path())
            .payload(Payload::new(&layer).bytes())
            .layer(image.blob(&layer)?)
            .run()?;
        outcome.error()?;
        ensure!(outcome.stdout.is_empty(), "{} bytes came out", outcome.stdout.len());
    }
    Ok(())
}

/// The digest that skopeo seals is then that of the layer from before it was compressed. Go
/// ctd-decoder decrypts such layers, so Keycell has to.
fn compressed_while_encrypted(fixture: &Fixture) -> Result<()> {
    let plain = fixture.plain(LayerKind::Tar)?;
    let (dir, keys) = (TempDir::new()?, TempDir::new()?);
    let key = fixture.key("p-256", KeyKind::P256)?;
    key.install(KeyForm::Pkcs8Pem, keys.path())?;
    let image = plain.compressed_and_encrypted(&dir.path().join("image"), key.public())?;
    for (encrypted, tar) in image.layers()?.iter().zip(plain.layers()?) {
        for side in ["host", "guest"] {
            let decoder = Decoder::new()?.keys(keys.path()).arg("--cipher").arg(side);
            let decoder = decoder.media_type(&encrypted.media_type).layer(image.blob(encrypted)?);
            let gzip = decoder.payload(Payload::new(encrypted).bytes()).run()?.plaintext()?;
            ensure!(gunzipped(&gzip)? == plain.blob(&tar)?, "{side}: another layer came out");
        }
    }
    Ok(())
}

/// RFC 1952 as skopeo writes it: a header without optional fields, one member.
fn gunzipped(gzip: &[u8]) -> Result<Vec<u8>> {
    ensure!(gzip.len() > 18 && gzip.starts_with(&[0x1f, 0x8b, 8, 0]), "not such a file");
    let deflated = &gzip[10..gzip.len() - 8];
    miniz_oxide::inflate::decompress_to_vec(deflated)
        .map_err(|error| anyhow::anyhow!("cannot inflate: {error}"))
}

/// Keys and images that cases share: each is made once, by the first case that asks for it.
struct Fixture {
    dir: TempDir,
    keys: Memo<String, KeyPair>,
    plain: Memo<LayerKind, Image>,
    encrypted: Memo<String, Image>,
}

impl Default for Fixture {
    fn default() -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        Self { dir, keys: Memo::default(), plain: Memo::default(), encrypted: Memo::default() }
    }
}

impl Fixture {
    fn key(&self, name: &str, kind: KeyKind) -> Result<Arc<KeyPair>> {
        let make = || KeyPair::generate(self.dir.path(), name, kind);
        self.keys.get_or_make(name.to_owned(), make)
    }

    fn plain(&self, kind: LayerKind) -> Result<Arc<Image>> {
        self.plain.get_or_make(kind, || match kind {
            LayerKind::Gzip => Image::busybox(self.dir.path()),
            _ => self.plain(LayerKind::Gzip)?.repacked(self.dir.path(), kind),
        })
    }

    fn encrypted(&self, kind: KeyKind, layer: LayerKind) -> Result<(Arc<Image>, Arc<KeyPair>)> {
        let key = self.key(&kind.to_string(), kind)?;
        let image = self.encrypted_to(&[&key], format!("{kind}-{layer}"), layer)?;
        Ok((image, key))
    }

    fn for_two(
        &self,
        first: KeyKind,
        second: KeyKind,
        layer: LayerKind,
    ) -> Result<(Arc<Image>, [Arc<KeyPair>; 2])> {
        let keys = [self.key(&first.to_string(), first)?, self.key(&second.to_string(), second)?];
        let image =
            self.encrypted_to(&[&keys[0], &keys[1]], format!("{first}-{second}-{layer}"), layer)?;
        Ok((image, keys))
    }

    fn encrypted_to(&self, to: &[&KeyPair], name: String, layer: LayerKind) -> Result<Arc<Image>> {
        let plain = self.plain(layer)?;
        let recipients: Vec<&Path> = to.iter().map(|key| key.public()).collect();
        let dir: PathBuf = self.dir.path().join(&name);
        self.encrypted.get_or_make(name, || plain.encrypted(&dir, &recipients))
    }
}
