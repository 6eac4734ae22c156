//! The tables of `docs/walls.md` are generated from the lists in `walls/src/calls.rs`.
//! `KEYCELL_WRITE=1` writes them.
//!
//! This runs only on x86-64, because other architectures do not have all of these calls.
#![cfg(target_arch = "x86_64")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use keycell_walls::calls::{
    ALWAYS, Call, DECRYPTING_ANSWERED, MODULE_ALLOWED, MODULE_ENOSYS, MODULE_FORBIDDEN, REFUSED,
    UNWRAPPING, UNWRAPPING_ANSWERED, WITH_LANDLOCK,
};
use keycell_walls::module::{HIDDEN, READ_ONLY, SYSTEM};

#[test]
fn the_calls_of_the_decoder_are_the_documented_ones() {
    let mut rows = "| call | unwrap | decrypt | only | why |\n|---|---|---|---|---|\n".to_owned();
    for (list, unwrap, decrypt) in [
        (ALWAYS, "yes", "yes"),
        (UNWRAPPING, "yes", ""),
        (WITH_LANDLOCK, "with Landlock", ""),
        (REFUSED, "`EPERM`", "`EPERM`"),
    ] {
        for call in list {
            let only: Vec<_> = call.only.iter().map(|rule| rule.words).collect();
            let rare = call.rare.map(|case| format!("; rare: {case}")).unwrap_or_default();
            let (name, only, why) = (call.name(), only.join("; "), call.why);
            let _ = writeln!(rows, "| `{name}` | {unwrap} | {decrypt} | {only} | {why}{rare} |");
        }
    }
    let _ = writeln!(rows, "\nAnswered with `ENOSYS`, that is \"not implemented\":\n");
    let _ = writeln!(rows, "| phase | calls |\n|---|---|");
    for (phase, list) in [("unwrap", UNWRAPPING_ANSWERED), ("decrypt", DECRYPTING_ANSWERED)] {
        let only = |call: &Call| {
            let words: Vec<_> = call.only.iter().map(|rule| rule.words).collect();
            if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
        };
        let calls: Vec<_> =
            list.iter().map(|call| format!("`{}`{}", call.name(), only(call))).collect();
        let _ = writeln!(rows, "| {phase} | {} |", calls.join(" "));
    }
    let _ = writeln!(rows, "| unwrap, without Landlock of Linux 6.2 | {} |", names(WITH_LANDLOCK));
    compare("the calls of ctd-decoder", &rows);
}

#[test]
fn the_calls_of_a_module_are_the_documented_ones() {
    let mut rows = "| answer | calls | what is kept from it |\n|---|---|---|\n".to_owned();
    for call in MODULE_ALLOWED {
        let only: Vec<_> = call.only.iter().map(|rule| rule.words).collect();
        let _ = writeln!(rows, "| made | `{}` {} | |", call.name(), only.join("; "));
    }
    let _ = writeln!(
        rows,
        "| `ENOSYS` | {}, and those that are newer than Linux 6.7 | |",
        names(MODULE_ENOSYS)
    );
    let mut reasons: Vec<&str> = Vec::new();
    for call in MODULE_FORBIDDEN {
        if !reasons.contains(&call.why) {
            reasons.push(call.why);
        }
    }
    for reason in reasons {
        let calls: Vec<_> =
            MODULE_FORBIDDEN.iter().filter(|call| call.why == reason).copied().collect();
        let _ = writeln!(rows, "| `EPERM` | {} | {reason} |", names(&calls));
    }
    let _ = writeln!(rows, "| `EPERM` | all of x32 (on x86-64) | a second way to every call |");
    compare("the calls of a module", &rows);
}

#[test]
fn the_files_of_a_module_are_the_documented_ones() {
    let list = |paths: &[&str]| {
        let paths: Vec<_> = paths.iter().map(|path| format!("`{path}`")).collect();
        paths.join(" ")
    };
    let rows = format!(
        "| | |\n|---|---|\n| to read with `module-files` or `files` | {} |\n\
         | hidden without `module-files` | {}, and block devices |\n\
         | to read without `module-files` | {} |\n",
        list(&SYSTEM),
        list(&HIDDEN),
        list(&READ_ONLY)
    );
    compare("the files of a module", &rows);
}

fn names(calls: &[Call]) -> String {
    calls.iter().map(|call| format!("`{}`", call.name())).collect::<Vec<_>>().join(" ")
}

/// Compares the text between two marks in the document with `rows`.
fn compare(mark: &str, rows: &str) {
    static FILE: Mutex<()> = Mutex::new(());
    let _one = FILE.lock();
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/walls.md");
    let text = fs::read_to_string(&path).expect("the document");
    let (begin, end) = (format!("<!-- begin: {mark} -->\n"), format!("<!-- end: {mark} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no `{begin}`"));
    let (there, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no `{end}`"));
    if std::env::var_os("KEYCELL_WRITE").is_some() {
        let text = [before, &begin, rows, &end, after].concat();
        fs::write(&path, text).expect("the document");
        return;
    }
    assert!(there == rows, "docs/walls.md: `{mark}` is not what walls/src/calls.rs says:\n{rows}");
}
