//! Signatures that minisign itself makes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use keycell_tests::guest::COPIES;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use keycell_tests::{node::Node, sealed::Sealed};
use tempfile::TempDir;

use crate::test_store::TestStore;

pub fn cases(suite: &mut Suite) {
    let needs = &[Tool::Minisign];
    suite.case("signature/verified", needs, verified);
    suite.case("signature/key-as-text", needs, key_as_text);
    suite.case("signature/required-and-absent", &[], required_and_absent);
    suite.case("signature/other-key", needs, other_key);
    suite.case("signature/altered-file", needs, altered_file);
    suite.case("signature/altered-comment", needs, altered_comment);
    suite.case("signature/not-one", needs, not_one);
    suite.case("signature/kept-by-rebuild", needs, kept_by_rebuild);
    suite.case("signature/replaced-in-the-store", needs, replaced_in_the_store);
}

/// A signer with a file that is signed.
struct Signed {
    dir: TempDir,
}

impl Signed {
    fn new() -> Result<Self> {
        let signed = Self { dir: TempDir::with_prefix("keycell-signed-")? };
        for name in ["key", "other"] {
            let (public, secret) = (signed.path(&format!("{name}.pub")), signed.path(name));
            Tool::Minisign.run([
                "-G".as_ref(),
                "-W".as_ref(),
                "-p".as_ref(),
                public.as_os_str(),
                "-s".as_ref(),
                secret.as_os_str(),
            ])?;
        }
        fs::write(signed.path("tiny.wasm"), wat::parse_str(COPIES)?)?;
        Tool::Minisign.run([
            "-S".as_ref(),
            "-s".as_ref(),
            signed.path("key").as_os_str(),
            "-t".as_ref(),
            "release 7".as_ref(),
            "-m".as_ref(),
            signed.path("tiny.wasm").as_os_str(),
        ])?;
        Ok(signed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The arguments that install it with the public key in this file.
    fn args(&self, key: &str) -> Vec<String> {
        let shown = |name: &str| self.path(name).display().to_string();
        let signature = ["--signature".to_owned(), shown("tiny.wasm.minisig")];
        let key = ["--public-key".to_owned(), shown(key)];
        [vec![shown("tiny.wasm")], signature.to_vec(), key.to_vec()].concat()
    }

    fn install(&self) -> Result<TestStore> {
        let store = TestStore::empty()?;
        let said = store.keycell("install", self.args("key.pub"))?;
        ensure!(said.contains("signed by RW") && said.contains(": release 7\n"), "{said}");
        Ok(store)
    }

    fn is_refused(&self, key: &str, words: &[&str]) -> Result<()> {
        let store = TestStore::empty()?;
        store.fails("install", self.args(key), words)?;
        ensure!(!store.path().exists(), "a store was made");
        Ok(())
    }
}

/// With `--require-signature` the guest runs, so it is its own output that is refused.
fn runs(store: &TestStore) -> Result<()> {
    let (node, sealed) = (Node::new()?, Sealed::of_length(1000));
    let decoder = store.decoder(&node, &sealed, "tiny")?.arg("--require-signature");
    let outcome = decoder.run()?;
    keycell_tests::node::says(&outcome, &["it wrote more bytes than it was given"])
}

fn verified() -> Result<()> {
    let store = Signed::new()?.install()?;
    runs(&store)?;
    ensure!(store.keycell("list", [""; 0])?.contains(", signed, "));
    ensure!(store.keycell("verify", ["tiny"])?.contains("the source is as it was signed"));
    Ok(())
}

fn key_as_text() -> Result<()> {
    let signed = Signed::new()?;
    let text = fs::read_to_string(signed.path("key.pub"))?;
    let mut args = signed.args("key.pub");
    args[4] = text.lines().nth(1).unwrap_or_default().to_owned();
    TestStore::empty()?.keycell("install", args).map(drop)
}

fn required_and_absent() -> Result<()> {
    let (store, node, sealed) = (TestStore::tiny()?, Node::new()?, Sealed::of_length(1000));
    let decoder = store.decoder(&node, &sealed, "tiny")?.arg("--require-signature");
    let words = ["the guest `tiny` is not signed, and `--require-signature` is set", "minisign"];
    keycell_tests::node::says(&decoder.run()?, &words)?;
    // Its own guest is a part of the decoder.
    let decoder = store.decoder(&node, &sealed, "embedded")?.arg("--require-signature");
    decoder.run()?.is_silent_success(&sealed.plain)
}

fn other_key() -> Result<()> {
    Signed::new()?.is_refused("other.pub", &["tiny.wasm.minisig` was made with another key"])
}

fn altered_file() -> Result<()> {
    let signed = Signed::new()?;
    fs::write(signed.path("tiny.wasm"), wat::parse_str(COPIES.replace("4096", "2048"))?)?;
    signed.is_refused("key.pub", &["does not fit the file"])
}

fn altered_comment() -> Result<()> {
    let signed = Signed::new()?;
    let text = fs::read_to_string(signed.path("tiny.wasm.minisig"))?;
    fs::write(signed.path("tiny.wasm.minisig"), text.replace("release 7", "release 8"))?;
    signed.is_refused("key.pub", &["does not fit the file"])
}

fn not_one() -> Result<()> {
    let signed = Signed::new()?;
    signed.is_refused("tiny.wasm", &["is no public key of minisign"])?;
    signed.is_refused("key", &["is no public key of minisign"])?;
    fs::write(signed.path("tiny.wasm.minisig"), "a signature, really\n")?;
    signed.is_refused("key.pub", &["is not one of minisign"])
}

fn kept_by_rebuild() -> Result<()> {
    let store = Signed::new()?.install()?;
    store.keycell("rebuild", ["tiny"])?;
    runs(&store)?;
    store.keycell("verify", ["tiny"]).map(drop)
}

/// A signature is checked again before anything is compiled from its source.
fn replaced_in_the_store() -> Result<()> {
    let (signed, other) = (Signed::new()?, Signed::new()?);
    let store = signed.install()?;
    fs::copy(other.path("tiny.wasm.minisig"), store.file("tiny", "guest.minisig"))?;
    store.fails("rebuild", ["tiny"], &["the signature in the store was made with another key"])?;
    fs::remove_file(store.file("tiny", "guest.minisig"))?;
    store.fails("verify", ["tiny"], &["the signature in the store is not one"]).map(drop)
}
