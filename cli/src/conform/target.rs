//! The target of a test, and how it is called.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::case::Case;
use super::stage::Stage;

/// Something that speaks the protocol of a decoder.
pub enum Target {
    /// A program, which is called as containerd calls it.
    Program {
        /// Where it is.
        path: PathBuf,
        /// Arguments before those of a case.
        args: Vec<OsString>,
    },
    /// A command guest, in `wasmtime run`: the keys in `/keys`, and the payload before the layer on
    /// standard input.
    Guest {
        /// The runtime.
        wasmtime: PathBuf,
        /// Options for the runtime.
        options: &'static [&'static str],
        /// The guest, compiled where the runtime can do that.
        file: PathBuf,
        /// Where it lies, when it was compiled.
        _compiled: Option<TempDir>,
    },
}

impl Target {
    /// A file that begins as WebAssembly does is a guest; anything else is a program.
    ///
    /// # Errors
    /// When there is none at that path.
    pub fn find(path: &Path, args: &[OsString], wasmtime: &Path) -> Result<Self> {
        let shown = path.display();
        let path = path.canonicalize().with_context(|| format!("cannot find `{shown}`"))?;
        let mut magic = [0; 4];
        let file = File::open(&path).with_context(|| format!("cannot read `{shown}`"))?;
        if !path.is_file() {
            bail!("`{shown}` is no program");
        }
        let read = file.take(4).read(&mut magic);
        if read.with_context(|| format!("cannot read `{shown}`"))? < 4 || magic != *b"\0asm" {
            return Ok(Self::Program { path, args: args.to_vec() });
        }
        Self::guest(path, wasmtime)
    }

    fn guest(file: PathBuf, wasmtime: &Path) -> Result<Self> {
        // A case has a working directory of its own; a bare name is looked for in `PATH`.
        let wasmtime = match wasmtime.components().count() {
            1 => wasmtime.to_path_buf(),
            _ => std::path::absolute(wasmtime)?,
        };
        let version = quiet(Command::new(&wasmtime).arg("--version"));
        let version = version.with_context(|| {
            format!(
                "cannot start `{}`, which runs guests; `--wasmtime PROGRAM`",
                wasmtime.display()
            )
        })?;
        if !version {
            bail!("`{} --version` fails", wasmtime.display());
        }
        // Once instead of for each case, where the runtime was built with that command.
        let place = TempDir::new()?;
        let compiled = place.path().join("guest.cwasm");
        let done =
            quiet(Command::new(&wasmtime).arg("compile").arg(&file).arg("-o").arg(&compiled));
        Ok(match done {
            Ok(true) if compiled.is_file() => Self::Guest {
                wasmtime,
                options: &["--allow-precompiled"],
                file: compiled,
                _compiled: Some(place),
            },
            _ => Self::Guest { wasmtime, options: &[], file, _compiled: None },
        })
    }

    /// Why a case says nothing of this target.
    pub fn cannot(&self, case: &Case) -> Option<&'static str> {
        let Self::Guest { .. } = self else { return None };
        let call = &case.call;
        if call.args.is_some() {
            Some("a guest has no arguments of its own")
        } else if !call.env.is_empty() || call.media_type.is_some() {
            Some("a guest has no environment")
        } else if !call.closed.is_empty() {
            Some("a guest always has its descriptors")
        } else if case.payload.is_none() {
            Some("a guest is never run without a payload")
        } else {
            None
        }
    }

    /// The words of a call, without its descriptors.
    pub fn words(&self, stage: &Stage, case: &Case) -> Vec<OsString> {
        match self {
            Self::Program { path, args } => {
                let given = case.call.args.as_ref().map(|args| {
                    args.iter().map(|word| stage.filled(word).into()).collect::<Vec<OsString>>()
                });
                let usual = || match case.keys {
                    Some(_) => vec!["--decryption-keys-path".into(), stage.keys().into()],
                    None => Vec::new(),
                };
                let mut words = vec![path.into()];
                words.extend(args.iter().cloned());
                words.extend(given.unwrap_or_else(usual));
                words
            }
            Self::Guest { wasmtime, options, file, .. } => {
                let mut keys = stage.keys().into_os_string();
                keys.push("::/keys");
                let mut words: Vec<OsString> = vec![wasmtime.into(), "run".into()];
                words.extend(options.iter().map(OsString::from));
                words.extend(["--dir".into(), keys, file.into(), "--payload".into(), "-".into()]);
                words
            }
        }
    }

    /// Whether the payload stands before the layer on standard input, after its length.
    pub fn is_framed(&self) -> bool {
        matches!(self, Self::Guest { .. })
    }
}

/// Whether a command succeeds; what it prints does not matter.
fn quiet(command: &mut Command) -> std::io::Result<bool> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status()?.success())
}
