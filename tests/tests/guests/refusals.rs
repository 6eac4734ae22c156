//! Everything about an installed guest that makes `ctd-decoder` refuse it, each with its own words.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::tools::{Tool, output};

use crate::test_store::{TestStore, command_in};

/// A user that owns nothing.
const STRANGER: u32 = 61_234;

type Spoil = fn(&TestStore) -> Result<()>;

/// What is done to the store or the guest `tiny` in it, and what the decoder says then.
const SPOILT: &[(&str, Spoil, &[&str])] = &[
    ("mode/code", |store| mode(&store.file("tiny", "guest.cwasm"), 0o666), OTHERS),
    ("mode/code-by-group", |store| mode(&store.file("tiny", "guest.cwasm"), 0o664), OTHERS),
    ("mode/record", |store| mode(&store.file("tiny", "record.json"), 0o646), OTHERS),
    ("mode/directory", |store| mode(&store.path().join("tiny"), 0o777), OTHERS),
    ("mode/store", |store| mode(&store.path(), 0o775), OTHERS),
    ("mode/above", |store| mode(store.path().parent().context("one")?, 0o777), OTHERS),
    ("digest/flipped", |store| flip(&store.file("tiny", "guest.cwasm")), ALTERED),
    ("digest/record", |store| store.edit("tiny", |r| r["artefact"] = "sha256:00".into()), ALTERED),
    ("digest/longer", |store| append(&store.file("tiny", "guest.cwasm")), ALTERED),
    ("digest/empty", |store| Ok(fs::write(store.file("tiny", "guest.cwasm"), "")?), ALTERED),
    (
        "engine/version-in-the-record",
        |store| store.edit("tiny", |record| record["engine"] = "wasmtime 1.0.0".into()),
        &[
            "was compiled for `wasmtime 1.0.0`, and this is `wasmtime 48",
            "keycell guest rebuild tiny",
        ],
    ),
    (
        "engine/version-in-the-code",
        |store| store.forge("tiny", |code| replace(code, b"wasmtime 48.", b"wasmtime 47.")),
        &[
            "for an engine with other settings",
            "incompatible version 'wasmtime 47.",
            "guest rebuild",
        ],
    ),
    (
        "engine/settings",
        // A setting of the compiler, as the code carries it: a name, a kind, a value.
        |store| {
            store.forge("tiny", |code| {
                replace(
                    code,
                    b"preserve_frame_pointers\x02\x01",
                    b"preserve_frame_pointers\x02\x00",
                )
            })
        },
        &["for an engine with other settings", "preserve_frame_pointers", "guest rebuild"],
    ),
    (
        "engine/not-native-code",
        |store| store.forge("tiny", |code| replace(code, b"\x7fELF", b"\x7fBAD")),
        &["for an engine with other settings"],
    ),
    (
        "cpu/target",
        |store| store.edit("tiny", |record| record["target"] = "m68k-unknown-linux-gnu".into()),
        &["was compiled for `m68k-unknown-linux-gnu`, not for this machine"],
    ),
    (
        "cpu/feature",
        // A feature that no CPU has, switched on.
        |store| store.forge("tiny", |code| replace(code, b"has_fma\x02\x00", b"has_xyz\x02\x01")),
        &["needs a CPU with `xyz`, which this one does not have", "--cpu baseline"],
    ),
    (
        "link/code",
        |store| link(&store.file("tiny", "guest.cwasm")),
        &["guest.cwasm` is a link or something else than a file"],
    ),
    (
        "link/record",
        |store| link(&store.file("tiny", "record.json")),
        &["record.json` is a link or something else than a file"],
    ),
    (
        "link/directory",
        |store| link(&store.path().join("tiny")),
        &["tiny` is a link or something else than a directory"],
    ),
    (
        "link/pipe",
        |store| {
            fs::remove_file(store.file("tiny", "guest.cwasm"))?;
            output(Command::new("mkfifo").arg(store.file("tiny", "guest.cwasm"))).map(drop)
        },
        &["guest.cwasm` is a link or something else than a file"],
    ),
    (
        "record/missing",
        |store| Ok(fs::remove_file(store.file("tiny", "record.json"))?),
        &["has no `record.json`", "keycell guest install --replace FILE --name tiny"],
    ),
    (
        "record/code-missing",
        |store| Ok(fs::remove_file(store.file("tiny", "guest.cwasm"))?),
        &["has no `guest.cwasm`"],
    ),
    ("record/garbage", |store| garbage(store, "{\"name\": 7"), UNREADABLE),
    ("record/empty", |store| garbage(store, ""), UNREADABLE),
    ("record/binary", |store| garbage(store, "\u{1}\u{2}\u{3}"), UNREADABLE),
    ("record/deep", |store| garbage(store, &"[".repeat(60_000)), UNREADABLE),
    (
        "record/long",
        |store| garbage(store, &" ".repeat(70_000)),
        &["record.json` is longer than 65536 bytes"],
    ),
    (
        "record/unknown-member",
        |store| store.edit("tiny", |record| record["more"] = 1.into()),
        &["is not readable: unknown field `more`"],
    ),
    (
        "record/of-another",
        |store| store.edit("tiny", |record| record["name"] = "other".into()),
        &["it is that of `other`"],
    ),
    (
        "record/other-kind",
        |store| store.edit("tiny", |record| record["kind"] = "decoder".into()),
        &["is not readable: a decoder is no core module"],
    ),
    (
        "record/other-form",
        |store| store.edit("tiny", |record| record["form"] = "component".into()),
        &["the guest `tiny` is not the component that its record says", "guest rebuild"],
    ),
    (
        "record/other-kind-and-form",
        |store| {
            store.edit("tiny", |record| {
                record["kind"] = "decoder".into();
                record["form"] = "component".into();
            })
        },
        &["the guest `tiny` is not the component that its record says", "guest rebuild"],
    ),
];

const OTHERS: &[&str] = &["can be written to by others than its owner", "chmod go-w"];
const ALTERED: &[&str] = &[
    "the code of the guest `tiny` is not what was installed",
    "install --replace FILE --name tiny",
];
const UNREADABLE: &[&str] = &["record.json` is not readable", "keycell guest install --replace"];

pub fn cases(suite: &mut Suite) {
    for (name, spoil, words) in SPOILT {
        suite.case(format!("refuses/{name}"), &[], move || {
            let store = TestStore::tiny()?;
            spoil(&store)?;
            store.refuses("tiny", words).map(drop)
        });
    }
    for (name, file) in [
        ("code", "tiny/guest.cwasm"),
        ("record", "tiny/record.json"),
        ("directory", "tiny"),
        ("store", "."),
        ("above", ".."),
    ] {
        suite.case(format!("refuses/owner/{name}"), &[Tool::Root], move || {
            let store = TestStore::tiny()?;
            chown(store.path().join(file), Some(STRANGER), None)?;
            store.refuses("tiny", &["belongs to the user 61234", "guests belong to root"]).map(drop)
        });
    }
    for name in ["../tiny", "/tiny", "a/b", "", ".", "..", "Tiny", "tiny\n", "default", "tíny"] {
        suite.case(format!("refuses/name/{name:?}"), &[], move || {
            let store = TestStore::tiny()?;
            store.refuses(name, &["is no name of an installed guest"]).map(drop)
        });
    }
    suite.case("refuses/unknown", &[], || {
        let words =
            ["there is no guest `other`", "installed are `tiny`", "install FILE --name other"];
        TestStore::tiny()?.refuses("other", &words).map(drop)
    });
    suite.case("refuses/no-store", &[], || {
        TestStore::empty()?
            .refuses("tiny", &["there is no guest `tiny`", "no such store"])
            .map(drop)
    });
    suite.case("refuses/before-the-layer", &[], before_the_layer);
    suite.case("refuses/mended-by-its-hint", &[], mended_by_its_hint);
    suite.case("refuses/of-a-user-for-root", &[Tool::Root, Tool::Setpriv], of_a_user);
}

/// A guest that is refused has not made the decoder wait for anything.
fn before_the_layer() -> Result<()> {
    let (store, node) = (TestStore::tiny()?, Node::new()?);
    flip(&store.file("tiny", "guest.cwasm"))?;
    let decoder = store.decoder(&node, &Sealed::of_length(1000), "tiny")?.stdin_stays_open();
    keycell_tests::node::says(&decoder.run()?, ALTERED)
}

/// After an upgrade the hint is a command that repairs it.
fn mended_by_its_hint() -> Result<()> {
    let (store, node) = (TestStore::tiny()?, Node::new()?);
    for spoil in ["engine/version-in-the-record", "engine/version-in-the-code", "cpu/feature"] {
        let (_, spoil, words) = SPOILT.iter().find(|case| case.0 == spoil).context("a case")?;
        spoil(&store)?;
        command_in(&store.refuses("tiny", words)?)?;
        let sealed = Sealed::of_length(1000);
        let outcome = store.decoder(&node, &sealed, "tiny")?.run()?;
        ensure!(!outcome.stderr.contains("compiled for"), "{}", outcome.stderr);
    }
    Ok(())
}

/// A store that belongs to a user serves that user's decoder, and not root's.
fn of_a_user() -> Result<()> {
    let (store, node) = (TestStore::tiny()?, Node::new()?);
    let sealed = Sealed::of_length(1000);
    output(Command::new("chown").args(["-R", &STRANGER.to_string()]).arg(store.path()))?;
    store.refuses("tiny", &["belongs to the user 61234"])?;
    for path in [node.outside(), store.path().parent().context("one")?] {
        mode(path, 0o755)?;
    }
    // `tiny` does not decrypt; that it is asked at all is what counts.
    let outcome = store.decoder(&node, &sealed, "tiny")?.as_user(STRANGER).run()?;
    ensure!(!outcome.stderr.contains("belongs to"), "{}", outcome.stderr);
    ensure!(outcome.stderr.contains("it wrote more bytes than"), "{}", outcome.stderr);
    Ok(())
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

fn flip(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(fs::write(path, bytes)?)
}

fn append(path: &Path) -> Result<()> {
    Ok(fs::write(path, [fs::read(path)?, vec![0]].concat())?)
}

/// The same thing, behind a link.
fn link(path: &Path) -> Result<()> {
    let moved = path.with_file_name("elsewhere");
    fs::rename(path, &moved)?;
    Ok(symlink(&moved, path)?)
}

fn garbage(store: &TestStore, text: &str) -> Result<()> {
    Ok(fs::write(store.file("tiny", "record.json"), text)?)
}

fn replace(code: &mut [u8], from: &[u8], to: &[u8]) -> Result<()> {
    let at = code.windows(from.len()).position(|window| window == from);
    let at = at.with_context(|| format!("nothing of {:?}", String::from_utf8_lossy(from)))?;
    code[at..at + to.len()].copy_from_slice(to);
    Ok(())
}
