//! Runs cargo in a build script, to build guests and to compile them for the host's engine.
//!
//! Each kind of build has a target directory of its own, because the cargo that runs the script has
//! locked the outer one. The compiler of guests is such a build, and not a build dependency: Cargo
//! would build it anew for every set of packages, each time with slightly other features.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// A cargo whose output does not depend on the flags and the profile of the cargo that runs this.
pub struct Cargo {
    command: Command,
    directory: PathBuf,
}

impl Cargo {
    /// `cargo SUBCOMMAND --locked --target TARGET` for the workspace at `root`, in the target directory
    /// `name` inside the outer one.
    ///
    /// # Errors
    /// This is not a build script of cargo.
    pub fn new(root: &Path, subcommand: &str, target: &str, name: &str) -> Result<Self> {
        let directory = outer_target_directory()?.join(name);
        let mut command = Command::new(env::var_os("CARGO").context("CARGO")?);
        command
            .current_dir(root)
            .args([subcommand, "--locked", "--target", target, "--target-dir"])
            .arg(&directory)
            // An empty list is a list: neither variables nor configuration files add to it.
            .env("CARGO_ENCODED_RUSTFLAGS", "")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_CFG_") || text.starts_with("CARGO_PROFILE_") {
                command.env_remove(name);
            }
        }
        Ok(Self { command, directory: directory.join(target) })
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it, and returns the directory of the target's profiles.
    ///
    /// # Errors
    /// Cargo fails; the message ends with `hint`.
    pub fn run(mut self, hint: &str) -> Result<PathBuf> {
        let status = self.command.status().context("cargo cannot be started")?;
        ensure!(status.success(), "{hint}");
        Ok(self.directory)
    }
}

/// OUT_DIR is `<target>/<profile>/build/<package>/out`, or `<target>/<triple>/<profile>/…`.
fn outer_target_directory() -> Result<PathBuf> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?);
    let directory = out.ancestors().nth(4).context("an unexpected OUT_DIR")?;
    let triple = directory.file_name() == env::var_os("TARGET").as_deref();
    let directory = if triple { directory.parent() } else { Some(directory) };
    Ok(directory.context("an unexpected OUT_DIR")?.to_owned())
}

/// What a guest is compiled for.
#[derive(Clone, Copy)]
pub enum Use {
    /// To be built into the host.
    Embedded,
    /// To be run as guests that are installed.
    Installed,
}

/// Compiles the component `NAME.wasm` in `directory` to `NAME.cwasm`, for each of `names` and for the target
/// of the package that is built.
///
/// # Errors
/// The compiler cannot be built, or refuses a component.
pub fn compile_components(
    root: &Path,
    directory: &Path,
    names: &[&str],
    purpose: Use,
) -> Result<()> {
    let (host, target) = (env::var("HOST")?, env::var("TARGET")?);
    let built = Cargo::new(root, "build", &host, "compiler")?
        .args(&["--release", "--package", "keycell-engine"])
        .args(&["--features", "compiler", "--bin", "compile-guests"])
        // It runs for seconds, so what counts is how soon it is built.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .run("the compiler of guests was not built")?;
    let mut compiler = Command::new(built.join("release/compile-guests"));
    let purpose = match purpose {
        Use::Embedded => "embedded",
        Use::Installed => "installed",
    };
    let status = compiler.args([purpose, &target]).arg(directory).args(names).status();
    ensure!(status.context("compile-guests")?.success(), "a guest was not compiled");
    Ok(())
}

/// Writes components where [`compile_components`] finds them.
///
/// # Errors
/// A file cannot be written.
pub fn write_component(directory: &Path, name: &str, component: &[u8]) -> Result<()> {
    let file = directory.join(name).with_extension("wasm");
    fs::write(&file, component).with_context(|| file.display().to_string())
}
