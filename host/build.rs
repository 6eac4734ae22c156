//! Builds the decoder guest and compiles it ahead of time, so that plain `cargo build` makes a
//! complete `ctd-decoder` and the program itself needs no compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// The guest multiplies 64 by 64 bits with one instruction, which reduces the time of RSA to a fifth.
const GUEST_FLAGS: &str = "-Ctarget-feature=+wide-arithmetic";

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let crates = ["guest", "ocicrypt", "diagnostic", "keys-directory"];
    let others = ["wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];
    for input in crates.into_iter().chain(others) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }

    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?);
    let guest = build_guest(root, &out)?;
    fs::write(out.join("decoder.digest"), digest(&guest)?)?;
    let guest = fs::read(guest)?;
    let target = env::var("TARGET")?;
    let artefact = keycell_engine::compiler::compile_component(&guest, Some(&target))
        .map_err(|error| anyhow::anyhow!("compiling the guest: {error:?}"))?;
    fs::write(out.join("decoder.cwasm"), artefact)?;
    Ok(())
}

/// Builds the component in its own target directory, because the cargo that runs this script has locked
/// the outer one. The directory stays valid when this script changes.
fn build_guest(root: &Path, out: &Path) -> Result<PathBuf> {
    // OUT_DIR is `<target>/<profile>/build/<package>/out`, or `<target>/<triple>/<profile>/…`.
    let mut target = out.ancestors().nth(4).context("an unexpected OUT_DIR")?;
    if target.file_name() == env::var_os("TARGET").as_deref() {
        target = target.parent().context("an unexpected OUT_DIR")?;
    }
    let target = target.join("guest");
    let mut cargo = Command::new(env::var_os("CARGO").context("CARGO")?);
    cargo
        .current_dir(root)
        .args(["rustc", "--profile", "guest", "--locked", "--package", "keycell-guest", "--lib"])
        // This leaves out the Rust library that the package also is, which would prevent optimization
        // at link time.
        .args(["--crate-type", "cdylib"])
        .args(["--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        // The output must not contain paths of the machine that builds it.
        .env("CARGO_ENCODED_RUSTFLAGS", guest_flags(root))
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_CFG_") || text.starts_with("CARGO_PROFILE_") {
            cargo.env_remove(name);
        }
    }
    ensure!(
        cargo.status()?.success(),
        "the guest was not built; its target comes with `rustup target add wasm32-wasip2`"
    );
    Ok(target.join("wasm32-wasip2/guest/keycell_guest.wasm"))
}

/// The digest in the form `sha256:…`. coreutils computes it, because a crate would require building
/// this version of SHA-2, and everything that the compiler shares with it, a second time.
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
