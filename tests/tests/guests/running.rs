//! Installed guests do the main job, within what each kind is granted.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::{Node, says, withheld};
use keycell_tests::payload::Payload;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

use crate::test_store::TestStore;

const COMMANDS: [&str; 2] = ["portable", "core"];

pub fn cases(suite: &mut Suite) {
    let skopeo = Arc::new(OnceLock::new());
    for guest in ["portable", "core", "ours"] {
        let skopeo = skopeo.clone();
        suite.case(format!("runs/{guest}/skopeo"), &Tool::IMAGES, move || {
            let made = skopeo.get_or_init(Skopeo::new).as_ref();
            made.map_err(|error| anyhow!("{error:#}"))?.opens(guest)
        });
        suite.case(format!("runs/{guest}/lengths"), &[], move || lengths(guest));
        suite.case(format!("runs/{guest}/flipped-bit"), &[], move || flipped_bit(guest));
        suite.case(format!("runs/{guest}/wrong-key"), &[], move || wrong_key(guest));
    }
    for guest in COMMANDS {
        suite.case(format!("runs/{guest}/explained"), &[], move || explained(guest));
    }
    suite.case("runs/key-in-the-payload", &[], key_in_the_payload);
    suite.case("runs/no-keys-directory", &[], no_keys_directory);
    suite.case("runs/single-key-file", &[], single_key_file);
    suite.case("runs/tokens-configured", &[], tokens_configured);
    suite.case("runs/every-byte-inside", &[], every_byte_inside);
    suite.case("default/chosen", &[], default_chosen);
    suite.case("default/flag-wins", &[], flag_wins);
    suite.case("default/is-not-removed", &[], default_is_not_removed);
    suite.case("default/removed-by-hand", &[], default_removed_by_hand);
    suite.case("default/garbage", &[], default_garbage);
    suite.case("default/must-be-usable", &[], default_must_be_usable);
}

/// The last layer of an image that skopeo encrypted.
struct Skopeo {
    dir: TempDir,
    plain: Vec<u8>,
    encrypted: Vec<u8>,
    payload: Vec<u8>,
}

impl Skopeo {
    fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("keycell-guests-")?;
        let key = KeyPair::generate(dir.path(), "key", KeyKind::Rsa(2048))?;
        std::fs::create_dir(dir.path().join("keys"))?;
        key.install(KeyForm::Pkcs8Pem, &dir.path().join("keys"))?;
        let image = Image::busybox(dir.path())?.repacked(dir.path(), LayerKind::Gzip)?;
        let sealed = image.encrypted(&dir.path().join("sealed"), &[key.public()])?;
        let last = |image: &Image| image.layers()?.pop().context("an image without layers");
        let layer = last(&sealed)?;
        let payload = Payload::new(&layer).bytes();
        Ok(Self {
            plain: image.blob(&last(&image)?)?,
            encrypted: sealed.blob(&layer)?,
            payload,
            dir,
        })
    }

    fn opens(&self, guest: &str) -> Result<()> {
        let store = TestStore::full()?;
        let decoder = Decoder::new()?.keys(&self.dir.path().join("keys"));
        let decoder = decoder.arg("--guest-store").arg(store.path()).arg("--guest").arg(guest);
        let decoder = decoder.payload(self.payload.clone()).layer(self.encrypted.clone());
        decoder.run()?.is_silent_success(&self.plain)
    }
}

/// Around the chunks of 64 KiB, of which the last is held back.
fn lengths(guest: &str) -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::new()?);
    for length in [0, 1, 65_535, 65_536, 65_537, 1_000_000] {
        let sealed = Sealed::of_length(length);
        let outcome = store.decoder(&node, &sealed, guest)?.run()?;
        outcome.is_silent_success(&sealed.plain).with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

fn flipped_bit(guest: &str) -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::new()?);
    for length in [1000, 300_000] {
        let mut sealed = Sealed::of_length(length);
        sealed.encrypted[0] ^= 1;
        let outcome = store.decoder(&node, &sealed, guest)?.run()?;
        withheld(&outcome, &sealed.plain)?;
        ensure!(outcome.stderr.contains("the layer does not match its HMAC"), "{}", outcome.stderr);
    }
    Ok(())
}

/// What the guest says stands in the error, with its hints, and in the operator's words.
fn wrong_key(guest: &str) -> Result<()> {
    let (store, node, stranger) = (TestStore::full()?, Node::new()?, Node::new()?);
    let sealed = Sealed::of_length(1000);
    let payload = sealed.payload_for(&stranger.recipient).bytes();
    let decoder = node.without_payload(&sealed)?.payload(payload);
    let decoder = decoder.arg("--guest-store").arg(store.path()).arg("--guest").arg(guest);
    let outcome = decoder.run()?;
    says(&outcome, &["no wrapped key could be opened: jwe: 1 wrapped key", "`node.pem`"])?;
    says(&outcome, &["hint: the image was encrypted for other keys"])?;
    if COMMANDS.contains(&guest) {
        says(&outcome, &[&format!("the guest `{guest}` failed: no wrapped key")])?;
    }
    Ok(())
}

fn explained(guest: &str) -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::new()?);
    let sealed = Sealed::of_length(1000);
    let outcome = store.decoder(&node, &sealed, guest)?.arg("--explain").run()?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    ensure!(outcome.stderr.starts_with("instance `command`\n"), "{}", outcome.stderr);
    ensure!(outcome.stderr.matches("instance `").count() == 1, "{}", outcome.stderr);
    ensure!(outcome.stdout == sealed.plain);
    Ok(())
}

fn key_in_the_payload() -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::without_key()?);
    let sealed = Sealed::of_length(1000);
    let payload = sealed.payload_for(&node.recipient).private_key(&node.recipient.private_key());
    let decoder = Decoder::new()?.payload(payload.bytes()).layer(sealed.encrypted.clone());
    let decoder = decoder.arg("--guest-store").arg(store.path()).arg("--guest").arg("portable");
    decoder.run()?.is_silent_success(&sealed.plain)
}

fn no_keys_directory() -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::new()?);
    let sealed = Sealed::of_length(1000);
    std::fs::remove_dir_all(node.keys())?;
    let outcome = store.decoder(&node, &sealed, "core")?.run()?;
    says(&outcome, &[&format!("`{}`", node.keys().display()), "does not exist"])
}

fn single_key_file() -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::new()?);
    let sealed = Sealed::of_length(1000);
    let file = node.keys().join(keycell_tests::node::KEY);
    let decoder = store.decoder(&node, &sealed, "portable")?.keys(&file);
    says(&decoder.run()?, &["is a command: it can be granted a directory of keys, not a file"])?;
    let decoder = store.decoder(&node, &sealed, "ours")?.keys(&file);
    decoder.run()?.is_silent_success(&sealed.plain)
}

/// A directory that may hold PINs is not granted to a command.
fn tokens_configured() -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::new()?);
    let sealed = Sealed::of_length(1000);
    let policy = node.outside().join("ocicrypt.conf");
    std::fs::write(&policy, "pkcs11: {allowed-module-paths: [/usr/lib/softhsm/]}\n")?;
    let decoder = store.decoder(&node, &sealed, "portable")?.env("OCICRYPT_CONFIG", &policy);
    says(&decoder.run()?, &["is a command, and is not granted a directory of keys", "PINs"])?;
    let decoder = store.decoder(&node, &sealed, "ours")?.env("OCICRYPT_CONFIG", &policy);
    decoder.run()?.is_silent_success(&sealed.plain)
}

fn every_byte_inside() -> Result<()> {
    let (store, node) = (TestStore::full()?, Node::new()?);
    let sealed = Sealed::of_length(300_000);
    let decoder = store.decoder(&node, &sealed, "ours")?.arg("--cipher").arg("guest");
    decoder.run()?.is_silent_success(&sealed.plain)
}

/// The decoder without `--guest`: which kind of guest it ran.
fn kind_of_default(store: &TestStore, more: &[&str]) -> Result<&'static str> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let mut decoder = node.decoder(&sealed)?.arg("--guest-store").arg(store.path());
    decoder = decoder.arg("--explain");
    for arg in more {
        decoder = decoder.arg(*arg);
    }
    let outcome = decoder.run()?;
    ensure!(outcome.status.success() && outcome.stdout == sealed.plain, "{}", outcome.stderr);
    let command = outcome.stderr.contains("instance `command`");
    Ok(if command { "command" } else { "decoder" })
}

fn default_chosen() -> Result<()> {
    let store = TestStore::full()?;
    ensure!(kind_of_default(&store, &[])? == "decoder");
    ensure!(store.keycell("default", [""; 0])? == "embedded\n");
    store.keycell("default", ["core"])?;
    ensure!(store.keycell("default", [""; 0])? == "core\n");
    ensure!(store.keycell("list", [""; 0])?.contains("* core "));
    ensure!(kind_of_default(&store, &[])? == "command");
    store.keycell("default", ["embedded"])?;
    ensure!(kind_of_default(&store, &[])? == "decoder");
    ensure!(store.keycell("default", ["embedded"])?.contains("the decoder's own"));
    Ok(())
}

fn flag_wins() -> Result<()> {
    let store = TestStore::full()?;
    store.keycell("default", ["core"])?;
    ensure!(kind_of_default(&store, &["--guest", "ours"])? == "decoder");
    ensure!(kind_of_default(&store, &["--guest", "embedded"])? == "decoder");
    Ok(())
}

fn default_is_not_removed() -> Result<()> {
    let store = TestStore::tiny()?;
    store.keycell("default", ["tiny"])?;
    let said = store.fails("remove", ["tiny"], &["`tiny` is the default guest"])?;
    crate::test_store::command_in(&said)?;
    store.keycell("remove", ["tiny"])?;
    ensure!(!store.path().join("tiny").exists());
    store.refuses("tiny", &["there is no guest `tiny`", "none is installed"]).map(drop)
}

/// Another guest never runs in the place of the one that was chosen.
fn default_removed_by_hand() -> Result<()> {
    let store = TestStore::tiny()?;
    store.keycell("default", ["tiny"])?;
    std::fs::remove_dir_all(store.path().join("tiny"))?;
    refuses_without_a_name(&store, &["there is no guest `tiny`"])
}

fn default_garbage() -> Result<()> {
    let store = TestStore::tiny()?;
    for garbage in ["", "../tiny", "tiny tiny", "\u{0}"] {
        std::fs::write(store.path().join("default"), garbage)?;
        refuses_without_a_name(&store, &["does not hold the name of a guest"])?;
    }
    std::fs::write(store.path().join("default"), b"\xff\xfe")?;
    refuses_without_a_name(&store, &["cannot read"])
}

fn refuses_without_a_name(store: &TestStore, words: &[&str]) -> Result<()> {
    let node = Node::new()?;
    let decoder = node.decoder(&Sealed::of_length(1000))?;
    says(&decoder.arg("--guest-store").arg(store.path()).run()?, words)
}

fn default_must_be_usable() -> Result<()> {
    let store = TestStore::tiny()?;
    store.edit("tiny", |record| record["engine"] = "another".into())?;
    store.fails("default", ["tiny"], &["was compiled for `another`"])?;
    store.fails("default", ["other"], &["there is no guest `other`", "installed are `tiny`"])?;
    ensure!(!store.path().join("default").exists());
    Ok(())
}
