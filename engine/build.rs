//! Determines the version of wasmtime that this is built with. Compiled code records it.

use std::fs;
use std::path::Path;

fn main() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let lock = fs::read_to_string(lock).expect("the workspace has a lock file");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"");
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    let version = version.expect("it names wasmtime").trim_matches('"');
    println!("cargo::rustc-env=ENGINE=wasmtime {version}, keycell {}", env!("CARGO_PKG_VERSION"));
}
