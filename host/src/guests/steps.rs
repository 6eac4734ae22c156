//! The two steps of a layer, each in an instance of its own.

use std::mem;

use keycell_core::contract::{DecoderPre, Origin};
use keycell_core::guest_log::GuestLog;
use keycell_core::sanitize::sanitize;
use keycell_core::{Instance, Limits, SharedAccounting, limits, linker};
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::DecoderHint;
use keycell_guest_store::record::Kind;
use keycell_settings::Settings;
use keycell_settings::key_permissions::KeyPermissions;
use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store, Trap, UpdateDeadline};

use crate::broker::client::Broker;
use crate::input::candidates::Layer;
use crate::input::content_store;
use crate::input::keys::Keys;
use crate::input::payload::PayloadError;
use crate::input::spool::Spool;
use crate::report::crash;
use crate::report::failure::Ending;
use crate::report::log::Log;
use crate::sandbox::{deadline, files, walls};
use crate::unix::descriptors;

use super::installed::Guest;
use super::native_code::NativeCode;
use super::trap::GuestFailure;
use super::{command, decrypt, unwrap};

/// What all of one run needs.
pub struct Run<'a> {
    /// How to decrypt.
    pub settings: &'a Settings,
    /// How long the steps may take.
    pub limits: Limits,
    /// Where to log.
    pub log: &'a Log,
}

/// Decrypts the layer on standard input to standard output, with what was on descriptor 3.
/// `embedded` is the guest where no other was chosen.
///
/// # Errors
/// Why there is no layer.
#[inline(never)] // its frame held keys, and is wiped when it has returned
pub fn run(
    run: &Run<'_>,
    payload: Result<Vec<u8>, PayloadError>,
    embedded: &NativeCode,
) -> Result<(), Ending> {
    let Run { settings, limits, log } = run;
    let payload = payload?;
    if !descriptors::stdout_was_open() {
        return Err(no_stdout());
    }
    let mut layer = Layer::default();
    let origin = if payload.is_empty() {
        let found = content_store::look(&settings.content_store, &mut layer.input)?;
        log.note(&found.shown);
        layer.blob = found.blob;
        layer.manifests = found.manifests;
        Origin::Stored(found.stored)
    } else {
        Origin::Payload(payload)
    };
    // Before the guest: what a broker starts must not inherit anything of it.
    let mut broker = Broker::start();
    deadline::arm(limits.unwrap_seconds + patience(&broker));
    let path = settings.keys.as_deref();
    let keys = Keys::find(path)?.without_tokens(path, &mut broker)?;
    let permissions = path.and_then(KeyPermissions::of);
    log.layer().warns(permissions.as_ref().and_then(KeyPermissions::directory));
    let guest = Guest::choose(&settings.guest, *embedded)?;
    log.layer().runs(guest.digest());
    layer.spool = settings.verify_first.as_ref().map(Spool::make).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| GuestFailure::Host(error.into()))?;
    if guest.kind == Kind::Command {
        drop(broker);
        let payload = command::payload(origin, settings)?;
        return runtime.block_on(command::run(run, &guest, payload, keys));
    }
    runtime.block_on(both_steps(run, &guest, origin, layer, (keys, permissions), broker))
}

async fn both_steps(
    run: &Run<'_>,
    guest: &Guest,
    origin: Origin,
    layer: Layer,
    (keys, permissions): (Keys, Option<KeyPermissions>),
    broker: Broker,
) -> Result<(), Ending> {
    let Run { settings, limits, log } = run;
    let (engine, guest) = prepare(guest)?;
    let guest = DecoderPre::new(guest).map_err(GuestFailure::Foreign)?;
    let decoder = (&engine, &guest);
    let walls = limits.walls.then(|| {
        let directory = unwrap::directory(&keys);
        walls::before_guest("unwrap", settings, directory, broker.group(), log)
    });
    let walls = walls.transpose()?;
    let keys = (keys, permissions.as_ref());
    let candidates = unwrap::run(run, decoder, (origin, &layer.manifests), keys, broker).await?;
    walls.map(|walls| walls::before_layer(walls, settings, log)).transpose()?;
    let (candidate, input) = layer.choose(candidates)?;
    log.layer().opened(&candidate.opened, candidate.warning);
    crash::layer_is_known();
    let ended = decrypt::run(run, decoder, candidate.key, input).await;
    // They hold no key, the process ends, and dropping them takes long.
    mem::forget((engine, guest));
    ended
}

/// Seconds that key providers and tokens take beside the guest's.
pub fn patience(broker: &Broker) -> u64 {
    if broker.is_configured() { limits::BROKER_SECONDS } else { 0 }
}

/// Standard output was closed at the start: exit code 0 would be a lie.
fn no_stdout() -> Ending {
    let message = "standard output is closed, so there is nowhere to write the layer to";
    Diagnostic::new(message, DecoderHint::OpenStandardOutput).into()
}

/// The guest with everything linked that it imports, in an engine whose epoch advances.
///
/// # Errors
/// A guest for another engine, or one that imports what no guest is granted.
pub fn prepare(guest: &Guest) -> Result<(Engine, InstancePre<Instance>), Ending> {
    let (engine, component) = guest.component()?;
    deadline::advance(&engine);
    let linker = linker::linker(&engine, &component, &files::INTERFACES);
    let linker = linker.map_err(GuestFailure::Host)?;
    let guest = linker.instantiate_pre(&component).map_err(GuestFailure::Foreign)?;
    mem::forget(linker); // a thousand small allocations, none of which is secret
    Ok((engine, guest))
}

/// A guest that computes without moving a byte is stopped; one that waits for a slow registry is
/// not, since it does not run while it waits.
pub fn trap_when_stalled(store: &mut Store<Instance>, accounting: SharedAccounting, seconds: u64) {
    let (mut seen, mut idle) = (0, 0);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        let progress = accounting.lock().progress();
        idle = if progress == seen { idle + 1 } else { 0 };
        seen = progress;
        if idle > seconds {
            return Err(Trap::Interrupt.into());
        }
        Ok(UpdateDeadline::Continue(1))
    });
}

/// Logs what a guest wrote to its standard error, such as notes about keys that it passed over: on
/// success containerd drops standard error, and Go ctd-decoder is silent.
pub fn log_stderr(guest_log: &GuestLog, log: &Log) {
    let text = guest_log.text();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    for line in lines.clone().take(limits::GUEST_LINES) {
        log.note(&format!("guest: {}", sanitize(line)));
    }
    let more = lines.skip(limits::GUEST_LINES).count();
    if more > 0 {
        log.note(&format!("guest: … and {more} lines more"));
    }
}
