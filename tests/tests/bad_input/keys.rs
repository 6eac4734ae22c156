//! The keys directory: what is no key is passed over and named, and never spoils the others.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keycell_tests::decoder::{Decoder, Outcome};
use keycell_tests::jwe::Recipient;
use keycell_tests::keys::{KeyForm, KeyKind, KeyPair};
use keycell_tests::node::{KEY, Node, says};
use keycell_tests::sealed::Sealed;
use keycell_tests::tools::Tool;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use keycell_tests::suite::Cases;

/// Debian's `nobody`, or anyone else without rights.
const NOBODY: u32 = 65_534;

pub(crate) fn add(cases: &mut Cases) {
    directories(cases);
    other_files(cases);
    special_files(cases);
    paths_that_are_no_directory(cases);
    many_files(cases);
}

fn directories(cases: &mut Cases) {
    cases.case("keys/no-path", || {
        let (node, sealed) = node()?;
        let payload = sealed.payload_for(&node.recipient).bytes();
        let outcome = Decoder::new()?.payload(payload).stdin_stays_open().run()?;
        says(&outcome, &["no private key", "--decryption-keys-path"])
    });
    cases.case("keys/missing-directory", || {
        let (node, sealed) = node()?;
        let outcome = only_with(&node, &sealed, "/nowhere/keys".as_ref())?;
        says(&outcome, &["no private key", "`/nowhere/keys`", "does not exist"])
    });
    cases.case("keys/missing-directory-with-a-key-in-the-payload", || {
        let (node, sealed) = node()?;
        let payload = sealed.payload_for(&node.recipient);
        let payload = payload.private_key(&node.recipient.private_key()).bytes();
        let decoder = Decoder::new()?.keys("/nowhere/keys".as_ref()).payload(payload);
        decoder.layer(sealed.encrypted).run()?.is_silent_success(&sealed.plain)
    });
    cases.case("keys/empty-directory", || alone(|_| Ok(()), &["no private key, and no file"]));
}

fn other_files(cases: &mut Cases) {
    let mut beside = |name: &str, add: fn(&Node) -> Result<()>, words: &'static [&str]| {
        cases.case(&format!("keys/{name}"), move || {
            alone(add, words)?;
            let node = Node::new()?;
            add(&node)?;
            node.opens(&Sealed::of_length(1000)).context("with the right key beside it")
        });
    };
    beside(
        "another-key",
        |node| put(node, "a.pem", Recipient::generate().private_pem()),
        &["wrong key", "1 key was tried", "P-256 `a.pem`", "SHA256:", "fingerprint"],
    );
    beside(
        "public-key",
        |node| put(node, "a.pub", node.recipient.public_pem()),
        &["no private key", "`a.pub`: a public key"],
    );
    beside("stray-file", |node| put(node, "README", "keys\n"), &["`README`: not a key"]);
    beside("empty-file", |node| put(node, ".gitkeep", ""), &["`.gitkeep`: empty"]);
    beside(
        "damaged-key",
        |node| {
            let pem = node.recipient.private_pem();
            put(node, "a.pem", &pem[..pem.len() / 2])?;
            let der = node.recipient.private_key();
            put(node, "b.der", &der[..der.len() - 1])?;
            put(node, "c.jwk", "{\"kty\":\"EC\"")
        },
        &["`a.pem`: a damaged key", "`b.der`: ", "`c.jwk`: a damaged key"],
    );
    beside("large-file", |node| put(node, "big", vec![0; (1 << 20) + 1]), &["`big`: larger than"]);
    beside("binary-file", |node| put(node, "a.bin", vec![0x30; 1 << 20]), &["`a.bin`: not a key"]);
    beside(
        "fifo",
        |node| node_of_kind(&node.keys().join("a.fifo"), FileType::Fifo),
        &["`a.fifo`: not a regular file"],
    );
    beside(
        "socket",
        |node| {
            UnixListener::bind(node.keys().join("a.sock"))?;
            Ok(())
        },
        &["`a.sock`: not a regular file"],
    );
    beside(
        "name-with-control-characters",
        |node| put(node, "a\u{1b}[31m\nb", "no key"),
        &["`a[31mb`: not a key"],
    );
    beside(
        "name-that-is-not-utf-8",
        |node| {
            fs::write(node.keys().join(OsStr::from_bytes(b"a\xff.pem")), "no key")?;
            Ok(())
        },
        &["keys`: it holds a file whose name is not UTF-8"],
    );
    // In whatever order the directory has them, some come before the key.
    beside(
        "names-that-are-not-utf-8",
        |node| {
            for number in 0..64 {
                let name = [b'a', 0xff, number].map(|byte| byte | 0x40);
                fs::write(node.keys().join(OsStr::from_bytes(&name)), "no key")?;
            }
            Ok(())
        },
        &["keys`: it holds a file whose name is not UTF-8"],
    );
    beside("deep-directories", |node| put(node, "a/b/c/d/e/f/g/h/i/j/k", "x"), &["too deeply"]);
}

fn special_files(cases: &mut Cases) {
    cases.case_with(&[Tool::Root], "keys/device", || {
        let add = |node: &Node| {
            let (path, mode) = (node.keys().join("null"), Mode::from_raw_mode(0o666));
            Ok(mknodat(CWD, path, FileType::CharacterDevice, mode, rustix::fs::makedev(1, 5))?)
        };
        alone(add, &["`null`: not a regular file"])
    });
    cases.case_with(&[Tool::Setpriv], "keys/unreadable-file", || {
        let words = ["`secret.pem`: permission denied"];
        says(&unreadable(&Node::without_key()?, "secret.pem")?, &words)?;
        // With the right key beside it.
        let node = Node::new()?;
        unreadable(&node, "secret.pem")?.is_silent_success(&[])
    });
    cases.case_with(&[Tool::Setpriv], "keys/unreadable-directory-within", || {
        says(&unreadable(&Node::without_key()?, "team")?, &["`team`: permission denied"])
    });
    cases.case_with(&[Tool::Setpriv], "keys/unreadable-directory", || {
        says(&unreadable(&Node::without_key()?, "")?, &["/keys`: permission denied"])
    });
}

fn paths_that_are_no_directory(cases: &mut Cases) {
    for (name, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
        cases.case(&format!("keys/path-is-a-{name}"), move || {
            let (node, sealed) = node()?;
            let path = node.outside().join("special");
            node_of_kind(&path, kind)?;
            says(&only_with(&node, &sealed, &path)?, &["special`", "neither a directory nor"])
        });
    }
    cases.case("keys/path-is-a-device", || {
        let (node, sealed) = node()?;
        says(&only_with(&node, &sealed, "/dev/zero".as_ref())?, &["`/dev/zero`"])
    });
    // Beside a single key file, which the host reads by itself.
    cases.case("keys/password-is-a-pipe", || {
        for suffix in [".pass", ".password"] {
            let (node, sealed) = node()?;
            node_of_kind(&node.keys().join(format!("{KEY}{suffix}")), FileType::Fifo)?;
            let payload = sealed.payload_for(&node.recipient).bytes();
            let decoder = Decoder::new()?.keys(&node.keys().join(KEY)).payload(payload);
            let outcome = decoder.layer(sealed.encrypted.clone()).run()?;
            outcome.is_silent_success(&sealed.plain)?;
        }
        Ok(())
    });
    cases.case("keys/path-is-no-key", || {
        let (node, sealed) = node()?;
        let stray = node.add("stray", "no key\n")?;
        says(&only_with(&node, &sealed, &stray)?, &["no private key", "`stray`: not a key"])?;
        let large = node.add("large", vec![b'x'; (1 << 20) + 1])?;
        says(&only_with(&node, &sealed, &large)?, &["larger than 1 MiB"])?;
        let empty = node.add("empty", "")?;
        says(&only_with(&node, &sealed, &empty)?, &["`empty`: empty"])
    });
}

fn many_files(cases: &mut Cases) {
    cases.case("keys/5000-files", || {
        let node = Node::new()?;
        many(&node)?;
        // Most names sort before this one.
        fs::rename(node.keys().join(KEY), node.keys().join("zz.pem"))?;
        let sealed = Sealed::of_length(1000);
        let outcome = node.decoder(&sealed)?.run()?;
        outcome.is_silent_success(&sealed.plain)?;
        ensure!(outcome.elapsed < Duration::from_secs(10), "took {:?}", outcome.elapsed);
        Ok(())
    });
    cases.case("keys/5000-files-and-none-fits", || {
        let node = Node::without_key()?;
        many(&node)?;
        let outcome = node.decoder(&Sealed::of_length(1000))?.stdin_stays_open().run()?;
        says(&outcome, &["passed over", "and 4995 more"])?;
        ensure!(outcome.stderr.len() < 4200, "{} bytes of message", outcome.stderr.len());
        Ok(())
    });
    cases.case_with(&[Tool::Openssl], "keys/every-kind-that-opens-no-layer", || {
        let (node, sealed) = (Node::without_key()?, Sealed::of_length(1000));
        for algorithm in ["ED25519", "X25519", "RSA-PSS"] {
            let path = node.keys().join(format!("{}.pem", algorithm.to_lowercase()));
            let words = ["genpkey", "-algorithm", algorithm, "-out"].map(OsStr::new);
            Tool::Openssl.run(words.into_iter().chain([path.as_os_str()]))?;
        }
        let rsa = KeyPair::generate(node.outside(), "rsa", KeyKind::Rsa(2048))?;
        let plain = node.outside().join("plain.pem");
        fs::write(&plain, rsa.private(KeyForm::Pkcs8Pem)?)?;
        let encrypted = node.keys().join("encrypted.pem");
        let words = ["pkcs8", "-topk8", "-passout", "pass:correct horse", "-in"].map(OsStr::new);
        let out = [plain.as_os_str(), "-out".as_ref(), encrypted.as_os_str()];
        Tool::Openssl.run(words.into_iter().chain(out))?;
        let outcome = node.decoder(&sealed)?.stdin_stays_open().run()?;
        says(
            &outcome,
            &["`ed25519.pem`: ", "`x25519.pem`: ", "`rsa-pss.pem`: ", "no private key"],
        )?;
        says(&outcome, &["`encrypted.pem`: ", "encrypted"])
    });
}

fn node() -> Result<(Node, Sealed)> {
    Ok((Node::new()?, Sealed::of_length(1000)))
}

fn put(node: &Node, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
    node.add(name, content).map(drop)
}

/// In a directory without the right key.
fn alone(add: impl FnOnce(&Node) -> Result<()>, words: &[&str]) -> Result<()> {
    let node = Node::without_key()?;
    add(&node)?;
    says(&node.decoder(&Sealed::of_length(1000))?.stdin_stays_open().run()?, words)
}

/// With another path for the keys than the node's.
fn only_with(node: &Node, sealed: &Sealed, path: &Path) -> Result<Outcome> {
    let payload = sealed.payload_for(&node.recipient).bytes();
    Decoder::new()?.keys(path).payload(payload).stdin_stays_open().run()
}

fn node_of_kind(path: &Path, kind: FileType) -> Result<()> {
    Ok(mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), 0)?)
}

/// A layer of no bytes, as a user who may read everything of the node but `name`, a key or a
/// directory of keys, in its keys directory.
fn unreadable(node: &Node, name: &str) -> Result<Outcome> {
    let path = node.keys().join(name);
    if name.is_empty() {
    } else if name.ends_with(".pem") {
        fs::write(&path, Recipient::generate().private_pem())?;
    } else {
        fs::create_dir(&path)?;
    }
    fs::set_permissions(node.outside(), Permissions::from_mode(0o755))?;
    fs::set_permissions(&path, Permissions::from_mode(0o000))?;
    let sealed = Sealed::of_length(0);
    let payload = sealed.payload_for(&node.recipient).bytes();
    let decoder = Decoder::at(&executable_by_all(node)?).keys(&node.keys()).payload(payload);
    let outcome = decoder.as_user(NOBODY).run();
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    outcome
}

/// The tree that the decoder was built in need not be open to others.
fn executable_by_all(node: &Node) -> Result<PathBuf> {
    let copy = node.outside().join("ctd-decoder");
    fs::copy(keycell_tests::dist("ctd-decoder")?, &copy)?;
    fs::set_permissions(&copy, Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn many(node: &Node) -> Result<()> {
    (0..5000).try_for_each(|number| put(node, &format!("{number:04}.txt"), "no key\n"))
}
