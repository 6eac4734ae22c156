//! Builds the decoder guest and compiles it ahead of time, so that plain `cargo build` makes a
//! complete `ctd-decoder` and the program itself needs no compiler.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};
use keycell_nested_build::{Cargo, Use, compile_components};

/// The guest multiplies 64 by 64 bits with one instruction, which reduces the time of RSA to a fifth.
const GUEST_FLAGS: &str = "-Ctarget-feature=+wide-arithmetic";

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let crates = ["guest", "ocicrypt", "diagnostic", "keys-directory", "engine"];
    let others = ["wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];
    for input in crates.into_iter().chain(others) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }

    let out = env::var("OUT_DIR").context("OUT_DIR")?;
    let out = Path::new(&out);
    let built = Cargo::new(root, "rustc", "wasm32-wasip2", "guest")?
        .args(&["--profile", "guest", "--package", "keycell-guest", "--lib"])
        // This leaves out the Rust library that the package also is, which would prevent optimization
        // at link time.
        .args(&["--crate-type", "cdylib"])
        // The output must not contain paths of the machine that builds it.
        .env("CARGO_ENCODED_RUSTFLAGS", &guest_flags(root))
        .run("the guest was not built; its target comes with `rustup target add wasm32-wasip2`")?;
    let guest = out.join("decoder.wasm");
    fs::copy(built.join("guest/keycell_guest.wasm"), &guest)?;
    fs::write(out.join("decoder.digest"), digest(&guest)?)?;
    compile_components(root, out, &["decoder"], Use::Embedded)
}

/// The digest in the form `sha256:…`. coreutils computes it, because a crate would have to be built for
/// this alone.
fn digest(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg("--").arg(file).output().context("sha256sum")?;
    let digest = output.stdout.get(..64).context("sha256sum does not answer")?;
    Ok(format!("sha256:{}", std::str::from_utf8(digest)?))
}

fn guest_flags(root: &Path) -> String {
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| home + "/.cargo"));
    let mut flags =
        vec![GUEST_FLAGS.to_owned(), format!("--remap-path-prefix={}=/keycell", root.display())];
    flags.extend(home.map(|home| format!("--remap-path-prefix={home}=/cargo")));
    flags.join("\u{1f}")
}
