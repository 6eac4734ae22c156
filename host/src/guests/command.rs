//! A guest that is a plain WASI command: it gets payload and layer on its standard input, the keys in
//! `/keys`, and writes the plain layer to its standard output. One instance has all of it, and decrypts
//! the layer itself.
//!
//! The host does not know the layer's key in this case, so it cannot check the HMAC: only the guest can
//! tell whether the layer is genuine. The host still holds back the last 64 KiB until the guest has
//! ended successfully and has read its whole input, and lets it write no more than it has read.

use std::path::Path;

use keycell_core::contract::Origin;
use keycell_core::guest_log::GuestLog;
use keycell_core::limits;
use keycell_core::streams::{Sink, Source};
use keycell_core::verdict::{self, NotDecrypted};
use keycell_core::{CipherSide, Instance, SharedAccounting};
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::{DecoderHint, Hint};
use keycell_guest_store::record::Form;
use keycell_settings::Settings;
use wasmtime::{Engine, InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::input::keys::{KeyPath, Keys};
use crate::input::layer::EncryptedLayer;
use crate::report::failure::{Ending, ends_a_run, of_guest};
use crate::report::{explain, stderr};
use crate::sandbox::standard_streams::Stdout;
use crate::sandbox::{deadline, walls};

use super::installed::Guest;
use super::shared::{Run, log_stderr, prepare, trap_when_stalled};
use super::trap::GuestFailure;
use super::wasip1;

/// Runs the command. It returns `Ok` only if the command ended successfully and the accounting agrees.
///
/// # Errors
/// Why there is no layer.
pub async fn run(run: &Run<'_>, guest: &Guest, payload: Vec<u8>, keys: Keys) -> Result<(), Ending> {
    let Run { settings, limits, log } = run;
    let key_path =
        KeyPath { path: settings.keys.as_deref(), is_missing: matches!(keys, Keys::Missing) };
    let directory = directory(&keys, &guest.name)?;
    let (engine, command) = Command::load(guest)?;
    if settings.report.explain {
        stderr::say(&explain::command(directory, payload.len(), limits));
    }
    let guest_log = GuestLog::default();
    let accounting = SharedAccounting::new(Box::new(Stdout));
    let layer = Box::new(EncryptedLayer::default());
    let source = Source::framed(layer, accounting.clone(), payload);
    let sink = Sink::new(accounting.clone(), CipherSide::Guest);
    let instance = Instance::for_command(&guest.name, directory, source, sink, &guest_log);
    let instance = instance.map_err(|error| key_path.cannot_be_opened(&error))?;
    if limits.walls {
        walls::before_guest("command", settings, directory, None, log)?;
    }
    let mut store = instance.into_store(&engine);
    trap_when_stalled(&mut store, accounting.clone(), limits.stall_seconds);
    deadline::arm(limits.stall_seconds); // it applies to everything except waiting for the layer

    let answer = command.run(&mut store).await;
    deadline::disarm();
    let exhausted = store.data().is_exhausted();
    drop(store);
    log_stderr(&guest_log, log);

    let answer = exit_code(answer)
        .map_err(|error| GuestFailure::new("run", error, &guest_log, exhausted).into());
    let answer = answer.and_then(|code| match code {
        0 => Ok(()),
        code => {
            let failure = failure(&guest.name, code, &guest_log).into();
            Err(key_path.for_the_operator(failure).into())
        }
    });
    let verdict = verdict::of_command(answer, &accounting);
    log.layer().wrote(accounting.lock().written);
    verdict.map_err(|error| match error {
        NotDecrypted::Stream(fault) => fault.into(),
        NotDecrypted::Guest(ending) => ending,
        NotDecrypted::FalseClaim(claim) => GuestFailure::broken("run", claim).into(),
    })
}

/// Why a command cannot be used for this layer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The host is asked to verify the layer first, but it never learns the layer's key.
    #[error("`--verify-first` does not work with a guest that is a command")]
    VerifyFirst,
    /// The host is asked to have the layer decompressed, and cannot tell the command.
    #[error("`--decompress` does not work with a guest that is a command")]
    Decompress,
    /// There is no payload.
    #[error(
        "containerd passed no payload on descriptor 3, and a guest that is a command needs one"
    )]
    NoPayload,
    /// The keys are one file.
    #[error("the guest `{0}` is a command: it can be granted a directory of keys, not a file")]
    SingleFile(String),
    /// PKCS#11 modules are allowed, so the keys directory may hold PINs.
    #[error(
        "the guest `{0}` is a command, and is not granted a directory of keys where PKCS#11 modules \
         are allowed: it may hold PINs"
    )]
    Tokens(String),
}

impl CommandError {
    fn hint(&self) -> DecoderHint {
        match self {
            Self::VerifyFirst => DecoderHint::CommandCannotVerifyFirst,
            Self::Decompress => DecoderHint::CommandCannotDecompress,
            Self::NoPayload => DecoderHint::PassPayload { or: false },
            Self::SingleFile(_) => DecoderHint::CommandNeedsDirectory,
            Self::Tokens(_) => DecoderHint::CommandWithTokens,
        }
    }
}

ends_a_run!(CommandError);

/// Returns the payload for a command, which gets nothing else.
///
/// # Errors
/// There is no payload, or the layer is to be verified first or decompressed.
pub fn payload(origin: Origin, settings: &Settings) -> Result<Vec<u8>, CommandError> {
    match origin {
        Origin::Payload(_) if settings.verify_first.is_some() => Err(CommandError::VerifyFirst),
        Origin::Payload(_) if settings.decompress => Err(CommandError::Decompress),
        Origin::Payload(payload) => Ok(payload),
        Origin::Stored(_) => Err(CommandError::NoPayload),
    }
}

fn directory<'k>(keys: &'k Keys, guest: &str) -> Result<Option<&'k Path>, CommandError> {
    match keys {
        Keys::NotConfigured | Keys::Missing => Ok(None),
        Keys::Directory(path) => Ok(Some(path.as_path())),
        Keys::Files(_) => Err(CommandError::SingleFile(guest.to_owned())),
        Keys::Sorted { .. } => Err(CommandError::Tokens(guest.to_owned())),
    }
}

fn exit_code(answer: wasmtime::Result<Result<(), ()>>) -> wasmtime::Result<i32> {
    match answer {
        Ok(Ok(())) => Ok(0),
        Ok(Err(())) => Ok(1),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(error),
        },
    }
}

/// A command in either form, with all imports linked.
enum Command {
    Component(CommandPre<Instance>),
    Module(InstancePre<Instance>),
}

impl Command {
    fn load(guest: &Guest) -> Result<(Engine, Self), Ending> {
        match guest.form {
            Form::Component => {
                let (engine, command) = prepare(guest)?;
                let command = CommandPre::new(command).map_err(GuestFailure::Foreign)?;
                Ok((engine, Self::Component(command)))
            }
            Form::Module => {
                let (engine, module) = guest.module()?;
                deadline::advance(&engine);
                let linker = wasip1::linker(&engine).map_err(GuestFailure::Host)?;
                let command = linker.instantiate_pre(&module).map_err(GuestFailure::Foreign)?;
                Ok((engine, Self::Module(command)))
            }
        }
    }

    /// Runs the command to its end. The inner result is what a component returns.
    async fn run(&self, store: &mut Store<Instance>) -> wasmtime::Result<Result<(), ()>> {
        match self {
            Self::Component(command) => {
                let command = command.instantiate_async(&mut *store).await?;
                command.wasi_cli_run().call_run(store).await
            }
            Self::Module(command) => {
                store.set_hostcall_fuel(limits::CORE_HOSTCALL);
                let command = command.instantiate_async(&mut *store).await?;
                let start = command.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(store, ()).await.map(Ok)
            }
        }
    }
}

/// Makes a diagnostic of what a command wrote when it failed: the last line on its standard error, and
/// the hints after it. If Go's runtime ended the command, the message comes before a trace.
fn failure(name: &str, code: i32, guest_log: &GuestLog) -> Diagnostic {
    let text = guest_log.text();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut lines = lines.collect::<Vec<_>>();
    let mut hints: Vec<Hint> = Vec::new();
    while let Some(hint) = lines.last().and_then(|line| line.strip_prefix("hint: ")) {
        hints.insert(0, of_guest(hint.to_owned()));
        lines.pop();
    }
    if hints.is_empty() {
        hints.push(DecoderHint::CommandFailed.into());
    }
    let ended = |line: &&&str| line.starts_with("fatal error: ") || line.starts_with("panic: ");
    let last = lines.last().map(|line| line.rsplit_once("error: ").map_or(*line, |(_, why)| why));
    let message = match lines.iter().find(ended).copied().or(last) {
        Some(why) => format!("the guest `{name}` failed: {why}"),
        None => format!("the guest `{name}` failed with exit code {code} and does not say why"),
    };
    Diagnostic { message, hints }
}
