//! A guest that is a plain WASI command: payload and layer on its standard input, the keys in
//! `/keys`, the plain layer on its standard output. One instance has all of it, and decodes by
//! itself.
//!
//! The host does not know the layer's key then, so it cannot check the HMAC: whether the layer is
//! genuine is this guest's word. What remains is that the last 64 KiB wait until it has ended well
//! and has read all that there was, and that it writes no more than it has read.

use keycell_guest_store::record::Form;
use wasmtime::{Engine, InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::args::{CipherSide, Job};
use crate::broker::Broker;
use crate::contract::Failure;
use crate::failures::{Ending, broken_guest, broken_host, foreign_guest, guest_failure, with_hint};
use crate::installed::Guest;
use crate::instance::Instance;
use crate::keys::{KeyPath, Keys};
use crate::ledger::Ledger;
use crate::limits::{self, Limits};
use crate::log::Log;
use crate::steps::{let_go, prepare, remember, trap_when_stalled};
use crate::streams::{GuestLog, Sink, Source};
use crate::{deadline, explain, message, walls, wasip1};

/// Runs the command. `Ok` only if it ended well and the books say so too.
///
/// # Errors
/// Why there is no layer, with the way out.
pub async fn run(
    job: &Job,
    guest: &Guest,
    payload: Vec<u8>,
    keys: Keys,
    limits: Limits,
    log: &Log,
) -> Result<(), Ending> {
    let of_keys = KeyPath { path: job.keys.as_deref(), is_missing: matches!(keys, Keys::Missing) };
    let directory = match &keys {
        Keys::NotConfigured | Keys::Missing => None,
        Keys::Directory(path) => Some(path.as_path()),
        Keys::Files(_) => return Err(a_single_file(&guest.name).into()),
        Keys::Sorted { .. } => return Err(with_tokens(&guest.name).into()),
    };
    let (engine, command) = Command::load(guest)?;
    if job.explain {
        message::say(&explain::command(directory, payload.len(), &limits));
    }
    let said = GuestLog::default();
    let ledger = Ledger::default();
    let source = Source::framed(ledger.clone(), payload);
    let sink = Sink::new(ledger.clone(), CipherSide::Guest);
    let instance = Instance::for_command(&guest.name, directory, source, sink, &said);
    let instance = instance.map_err(|error| of_keys.cannot_be_opened(&error))?;
    if limits.walls {
        walls::before_guest("command", job, &keys, &Broker::none(), log)?;
    }
    let mut store = instance.into_store(&engine);
    trap_when_stalled(&mut store, ledger.clone(), limits.stall_seconds);
    deadline::arm(limits.stall_seconds); // for whatever it does but waiting for the layer

    let answer = command.run(&mut store).await;
    deadline::disarm();
    let exhausted = store.data().is_exhausted();
    drop(store);
    remember(&said, log);

    log.layer().moved(ledger.books().written);
    let fault = ledger.books().take_fault();
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    let code = match answer {
        Ok(Ok(())) => 0,
        Ok(Err(())) => 1,
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => exit.0,
            None => return Err(guest_failure("run", &error, &said, exhausted).into()),
        },
    };
    if code != 0 {
        return Err(of_keys.for_the_operator(told(&guest.name, code, &said)).into());
    }
    if !ledger.books().is_read() {
        let why = "it ended with exit code 0 before it had read the whole layer";
        return Err(broken_guest("run", why).into());
    }
    let verdict = let_go(&ledger);
    log.layer().moved(ledger.books().written);
    verdict
}

/// A command in either form, with everything linked that there is.
enum Command {
    Component(CommandPre<Instance>),
    Module(InstancePre<Instance>),
}

impl Command {
    fn load(guest: &Guest) -> Result<(Engine, Self), Failure> {
        match guest.form {
            Form::Component => {
                let (engine, command) = prepare(guest)?;
                let command = CommandPre::new(command).map_err(|error| foreign_guest(&error))?;
                Ok((engine, Self::Component(command)))
            }
            Form::Module => {
                let (engine, module) = guest.module()?;
                deadline::advance(&engine);
                let linker = wasip1::linker(&engine).map_err(broken_host)?;
                let command =
                    linker.instantiate_pre(&module).map_err(|error| foreign_guest(&error))?;
                Ok((engine, Self::Module(command)))
            }
        }
    }

    /// Runs it to its end. The inner result is what a component returns.
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

/// What a command says when it fails: the last line on its standard error, and the hints after it.
/// Where Go's runtime ends it, what it says stands before a trace.
fn told(name: &str, code: i32, said: &GuestLog) -> Failure {
    let text = said.text();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut lines = lines.collect::<Vec<_>>();
    let mut hints = Vec::new();
    while let Some(hint) = lines.last().and_then(|line| line.strip_prefix("hint: ")) {
        hints.insert(0, hint.to_owned());
        lines.pop();
    }
    let ended = |line: &&&str| line.starts_with("fatal error: ") || line.starts_with("panic: ");
    let last = lines.last().map(|line| line.rsplit_once("error: ").map_or(*line, |(_, said)| said));
    let mut failure = with_hint(
        match lines.iter().find(ended).copied().or(last) {
            Some(why) => format!("the guest `{name}` failed: {why}"),
            None => format!("the guest `{name}` failed with exit code {code} and does not say why"),
        },
        "the layer was not released; the log has everything that the guest said",
    );
    if !hints.is_empty() {
        failure.hints = hints;
    }
    failure
}

fn a_single_file(name: &str) -> Failure {
    with_hint(
        format!(
            "the guest `{name}` is a command: it can be granted a directory of keys, not a file"
        ),
        "put the key, and the file with its password, into a directory of their own, and name that \
         with `--decryption-keys-path`",
    )
}

fn with_tokens(name: &str) -> Failure {
    with_hint(
        format!(
            "the guest `{name}` is a command, and is not granted a directory of keys where PKCS#11 \
             modules are allowed: it may hold PINs"
        ),
        "use a guest that is a decoder, such as `--guest embedded`; where no PKCS#11 token is \
         used, remove `OCICRYPT_CONFIG` and `/etc/ocicrypt.conf`",
    )
}
