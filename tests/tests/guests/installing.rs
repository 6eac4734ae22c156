//! `keycell guest install` and what comes after it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keycell_tests::dist;
use keycell_tests::guest::COPIES;
use keycell_tests::suite::Suite;
use keycell_tests::tools::output;
use serde_json::Value;

use crate::test_store::TestStore;

/// Guests that are refused, as text, and what is said of each.
const FOREIGN: &[(&str, &str, &[&str])] = &[
    (
        "tls",
        r#"(component (import "wasi:tls/types@0.2.0" (instance)))"#,
        &["imports what no guest is granted: `wasi:tls/types@0.2.0` (the network)"],
    ),
    (
        "http",
        r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#,
        &["`wasi:http/outgoing-handler@0.2.0` (the network)", "jco componentize --disable http"],
    ),
    (
        "unknown-package",
        r#"(component (import "acme:keys/escrow@1.0.0" (instance)))"#,
        &["`acme:keys/escrow@1.0.0` (an unknown package)"],
    ),
    (
        "unknown-interface",
        r#"(component (import "wasi:clocks/timezone@0.2.0" (instance)))"#,
        &["`wasi:clocks/timezone@0.2.0` (not a part of the contract)"],
    ),
    (
        "other-wasi",
        r#"(component (import "wasi:io/streams@0.3.0" (instance)))"#,
        &["`wasi:io/streams@0.3.0` (another version)"],
    ),
    (
        "draft-of-wasi",
        r#"(component (import "wasi:io/streams@0.2.0-rc-2023-11-10" (instance)))"#,
        &["`wasi:io/streams@0.2.0-rc-2023-11-10` (another version)"],
    ),
    (
        "other-contract",
        r#"(component (import "keycell:decoder/cipher@0.1.0" (instance)))"#,
        &["`keycell:decoder/cipher@0.1.0` (another version)"],
    ),
    ("bare-name", r#"(component (import "print" (func)))"#, &["`print` (unknown)"]),
    (
        "several",
        r#"(component (import "wasi:tls/types@0.2.0" (instance)) (import "a:b/c@1.0.0" (instance)))"#,
        &["`wasi:tls/types@0.2.0` (the network), `a:b/c@1.0.0` (an unknown package)"],
    ),
    (
        "core-import",
        r#"(module (import "env" "system" (func (param i32))) (func (export "_start")))"#,
        &["`env.system` (unknown)"],
    ),
    (
        "core-old-wasi",
        r#"(module (import "wasi_unstable" "fd_read" (func)) (func (export "_start")))"#,
        &["`wasi_unstable.fd_read` (unknown)"],
    ),
    (
        "core-unknown-function",
        r#"(module (import "wasi_snapshot_preview1" "fd_everything" (func)) (memory (export "memory") 1)
           (func (export "_start")))"#,
        &["`wasi_snapshot_preview1.fd_everything` (not a part of the contract)"],
    ),
    (
        "core-no-function",
        r#"(module (import "wasi_snapshot_preview1" "fd_read" (global i32)) (memory (export "memory") 1)
           (func (export "_start")))"#,
        &["`wasi_snapshot_preview1.fd_read, which is no function`"],
    ),
    (
        "core-interface",
        r#"(module (import "wasi:cli/stdin@0.2.0" "get-stdin" (func (result i32)))
           (memory (export "memory") 1) (func (export "_start")))"#,
        &["`wasi:cli/stdin@0.2.0.get-stdin`"],
    ),
    (
        "core-without-memory",
        r#"(module (func (export "_start")))"#,
        &["it is a core module without `memory`"],
    ),
    (
        "core-start-no-function",
        r#"(module (global (export "_start") i32 (i32.const 0)) (memory (export "memory") 1))"#,
        &["it is a core module without `_start`"],
    ),
    ("library", "(module (func (export \"decode\")))", &["it is a core module without `_start`"]),
    ("nothing", "(component)", &["it exports neither the steps nor a command"]),
    (
        "one-step",
        r#"(component (instance $i) (export "keycell:decoder/unwrapping@0.4.0" (instance $i)))"#,
        &["it exports one step of two"],
    ),
    (
        "steps-of-another-contract",
        r#"(component (instance $i) (export "keycell:decoder/unwrapping@0.9.0" (instance $i))
           (export "keycell:decoder/decrypting@0.9.0" (instance $i)))"#,
        &["it exports `keycell:decoder/unwrapping@0.9.0`"],
    ),
];

/// Guests that use what is off in the engine: what, how, and what is said of it.
const PROPOSALS: &[(&str, &str, &[&str])] = &[
    (
        // It made wasmtime 48.0.8 panic (GHSA-rc4p-x33f-vpr2).
        "gc",
        "(type $super (sub (func))) (type $sub (sub $super (func))) (table funcref (elem $f)) \
         (func $f (type $sub)) (func (call_indirect (type $super) (i32.const 0)))",
        &["compile for linear memory"],
    ),
    ("gc", "(type (struct))", &["compile for linear memory"]),
    ("function-references", "(func (param (ref func)))", &["compile for linear memory"]),
    ("externref", "(func (param externref))", &["without references to objects of the host"]),
    ("tail-call", "(func $f return_call $f)", &["`-mno-tail-call`"]),
    ("memory64", "(table i64 1 funcref)", &["build it for wasm32"]),
    ("multi-memory", "(memory 1)", &["`-mno-multimemory`"]),
    (
        "relaxed-simd",
        "(func (param v128 v128) (result v128) local.get 0 local.get 1 i8x16.relaxed_swizzle)",
        &["`-mno-relaxed-simd`"],
    ),
    ("exceptions", "(tag)", &["`-fno-exceptions`"]),
    ("threads", "(func i32.const 0 i32.atomic.load drop)", &["`-mno-atomics`"]),
    ("custom-page-sizes", "(memory 1 (pagesize 1))", &["build it without"]),
    ("stack-switching", "(type $f (func)) (type (cont $f))", &["build it without"]),
];

pub fn cases(suite: &mut Suite) {
    for (name, text, words) in FOREIGN {
        suite.case(format!("installs-not/{name}"), &[], move || {
            let store = TestStore::empty()?;
            let file = store.beside("guest.wasm", wat::parse_str(text)?)?;
            store.fails("install", [file.as_os_str()], words)?;
            ensure!(!store.path().exists(), "a store was made");
            Ok(())
        });
    }
    for (number, (proposal, text, words)) in PROPOSALS.iter().enumerate() {
        suite.case(format!("installs-not/{proposal}/{number}"), &[], move || {
            let store = TestStore::empty()?;
            let text = format!(
                "(module (memory (export \"memory\") 1) (func (export \"_start\")) {text})"
            );
            let file = store.beside("guest.wasm", wat::parse_str(text)?)?;
            let named = format!("`{proposal}`, which no guest may");
            let words = [&[named.as_str()], *words].concat();
            store.fails("install", [file.as_os_str()], &words)?;
            ensure!(!store.path().exists(), "a store was made");
            Ok(())
        });
    }
    suite.case("installs-not/other-files", &[], other_files);
    suite.case("installs-not/over-another", &[], over_another);
    suite.case("installs-not/bad-names", &[], bad_names);
    suite.case("installs-not/into-a-store-of-others", &[], into_a_store_of_others);
    suite.case("installs/in-words", &[], in_words);
    suite.case("installs/modes-whatever-the-umask", &[], modes);
    suite.case("installs/json", &[], json);
    suite.case("installs/for-this-cpu", &[], for_this_cpu);
    suite.case("verify/sound", &[], verify_sound);
    suite.case("verify/forged-code", &[], verify_forged_code);
    suite.case("verify/altered-source", &[], verify_altered_source);
    suite.case("verify/every-guest", &[], verify_every_guest);
    suite.case("remove/what-was-tampered-with", &[], remove_tampered);
}

fn other_files() -> Result<()> {
    let store = TestStore::tiny()?;
    let component = wat::parse_str("(component)")?;
    for (content, words) in [
        (b"#!/bin/sh\n".to_vec(), "is not WebAssembly"),
        (Vec::new(), "is not WebAssembly"),
        (COPIES.as_bytes().to_vec(), "is not WebAssembly"),
        (fs::read(store.file("tiny", "guest.cwasm"))?, "is not WebAssembly"),
        ([&component[..], b"\xff\xff\xff"].concat(), "is malformed WebAssembly"),
        (wat::parse_str(COPIES)?[..100].to_vec(), "is malformed WebAssembly"),
    ] {
        let file = store.beside("guest.wasm", content)?;
        store.fails("install", [file.as_os_str()], &[words])?;
    }
    Ok(())
}

fn over_another() -> Result<()> {
    let store = TestStore::tiny()?;
    let before = fs::read(store.file("tiny", "record.json"))?;
    let other = COPIES.replace("4096", "2048");
    let file = store.beside("tiny.wasm", wat::parse_str(other)?)?;
    store.fails(
        "install",
        [file.as_os_str()],
        &["there is a guest `tiny` already", "--replace"],
    )?;
    ensure!(fs::read(store.file("tiny", "record.json"))? == before);
    store.keycell("install", [file.as_os_str(), "--replace".as_ref()])?;
    ensure!(fs::read(store.file("tiny", "record.json"))? != before);
    let left = fs::read_dir(store.path())?.count();
    ensure!(left == 1, "{left} entries in the store");
    Ok(())
}

fn bad_names() -> Result<()> {
    let store = TestStore::empty()?;
    let file = store.beside("guest.wasm", wat::parse_str(COPIES)?)?;
    for name in ["embedded", "default", "../guest", "a b", "-x", ".hidden", "é"] {
        let name = format!("--name={name}");
        let words = ["is no name of an installed guest"];
        store.fails("install", [file.as_os_str(), name.as_ref()], &words)?;
    }
    Ok(())
}

fn into_a_store_of_others() -> Result<()> {
    let store = TestStore::tiny()?;
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o777))?;
    let file = store.beside("more.wasm", wat::parse_str(COPIES)?)?;
    store.fails("install", [file.as_os_str()], &["can be written to by others"]).map(drop)
}

/// What each of our own guests imports, as a person reads it.
fn in_words() -> Result<()> {
    let store = TestStore::full()?;
    for (guest, words, others) in [
        (
            "ours",
            &[
                "`ours`: a decoder, a component",
                "reads the keys directory, in `unwrap`",
                "may use the host's cipher, in `decrypt`",
                "may ask key providers",
                "may ask for keys in PKCS#11 tokens",
            ][..],
            "in one instance",
        ),
        (
            "portable",
            &[
                "`portable`: a command, a component",
                "reads the keys directory",
                "reads the payload and the encrypted layer",
                "writes the plain layer",
                "sees the private keys and writes the layer in one instance, and checks the HMAC itself",
            ],
            "cipher",
        ),
        (
            "core",
            &[
                "`core`: a command, a core module",
                "reads the keys directory",
                "reads the payload and the encrypted layer",
                "writes the plain layer, and to the log",
                "not signed",
            ],
            "providers",
        ),
    ] {
        let said = store.keycell("show", [guest])?;
        for word in words {
            ensure!(said.contains(word), "{guest}: nothing of `{word}`: {said}");
        }
        ensure!(!said.contains(others), "{guest}: `{others}`: {said}");
    }
    Ok(())
}

fn modes() -> Result<()> {
    for umask in ["077", "000"] {
        let store = TestStore::empty()?;
        let file = store.beside("tiny.wasm", wat::parse_str(COPIES)?)?;
        let install = format!(
            "umask {umask}; exec {} guest install --store {} {}",
            dist("keycell")?.display(),
            store.path().display(),
            file.display()
        );
        output(Command::new("sh").args(["-c", &install]))?;
        store.keycell("default", ["tiny"])?;
        for (path, wanted) in [
            (store.path(), 0o755),
            (store.path().join("tiny"), 0o755),
            (store.path().join("default"), 0o644),
            (store.file("tiny", "guest.cwasm"), 0o644),
            (store.file("tiny", "guest.wasm"), 0o644),
            (store.file("tiny", "record.json"), 0o644),
        ] {
            let mode = fs::metadata(&path)?.mode() & 0o7777;
            ensure!(mode == wanted, "{} has mode {mode:o} under umask {umask}", path.display());
        }
    }
    Ok(())
}

fn json() -> Result<()> {
    let store = TestStore::tiny()?;
    let shown: Value = serde_json::from_str(&store.keycell("show", ["tiny", "--json"])?)?;
    let listed: Value = serde_json::from_str(&store.keycell("list", ["--json"])?)?;
    ensure!(listed["default"] == "embedded" && listed["guests"][0] == shown, "{listed}");
    ensure!(shown["kind"] == "command" && shown["cpu"] == "baseline", "{shown}");
    ensure!(shown["form"] == "core module", "{shown}");
    let code = fs::metadata(store.file("tiny", "guest.cwasm"))?.len();
    ensure!(shown["size"] == code, "{shown}");
    // The digest as another program computes it.
    let digest = output(Command::new("sha256sum").arg(store.file("tiny", "guest.wasm")))?;
    let digest = String::from_utf8(digest)?;
    let digest = format!("sha256:{}", digest.split(' ').next().context("a digest")?);
    ensure!(shown["source"] == digest, "{shown}");
    let imports = shown["imports"].as_array().context("imports")?;
    ensure!(*imports == ["wasi_snapshot_preview1.fd_read", "wasi_snapshot_preview1.fd_write"]);

    store.edit("tiny", |record| record["engine"] = "another".into())?;
    let listed: Value = serde_json::from_str(&store.keycell("list", ["--json"])?)?;
    let error = listed["guests"][0]["error"].as_str().unwrap_or_default();
    ensure!(error.contains("was compiled for `another`"), "{listed}");
    ensure!(store.keycell("list", [""; 0])?.contains("unusable"), "not told");
    Ok(())
}

/// It runs here, on the CPU that it was compiled for.
fn for_this_cpu() -> Result<()> {
    let store = TestStore::empty()?;
    store.install_text("tiny", COPIES, &["--cpu", "native"])?;
    ensure!(store.keycell("show", ["tiny"])?.contains(" native\n"));
    store.refuses("tiny", &["it wrote more bytes than it was given"])?;
    let said = store.keycell("rebuild", ["--cpu", "baseline"])?;
    ensure!(said.ends_with(", baseline\n"), "{said}");
    Ok(())
}

fn verify_sound() -> Result<()> {
    let said = TestStore::tiny()?.keycell("verify", [""; 0])?;
    ensure!(said == "`tiny`: the code is what the source compiles to\n", "{said}");
    Ok(())
}

/// Code and record agree, so the decoder would run it; the source shows the difference.
fn verify_forged_code() -> Result<()> {
    let store = TestStore::tiny()?;
    store.forge("tiny", |code| {
        let middle = code.len() / 2;
        code[middle] ^= 1;
        Ok(())
    })?;
    store.fails("verify", ["tiny"], &["is not what its source compiles to"]).map(drop)
}

fn verify_altered_source() -> Result<()> {
    let store = TestStore::tiny()?;
    fs::write(store.file("tiny", "guest.wasm"), wat::parse_str("(module)")?)?;
    let words = ["the source of the guest `tiny` is not what was installed"];
    store.fails("verify", ["tiny"], &words)?;
    store.fails("rebuild", ["tiny"], &words).map(drop)
}

fn verify_every_guest() -> Result<()> {
    let store = TestStore::tiny()?;
    store.install_text("fine", COPIES, &[])?;
    fs::write(store.file("tiny", "record.json"), "{}")?;
    let said = store.fails("verify", [""; 0], &["record.json` is not readable"])?;
    ensure!(!said.contains("fine"), "{said}");
    store.fails("verify", ["other"], &["there is no guest `other`"]).map(drop)
}

fn remove_tampered() -> Result<()> {
    let store = TestStore::tiny()?;
    fs::write(store.file("tiny", "record.json"), "{}")?;
    fs::set_permissions(store.file("tiny", "guest.cwasm"), fs::Permissions::from_mode(0o666))?;
    store.keycell("remove", ["tiny"])?;
    ensure!(fs::read_dir(store.path())?.count() == 0, "something is left");
    store.fails("remove", ["tiny"], &["there is no guest `tiny`"]).map(drop)
}
