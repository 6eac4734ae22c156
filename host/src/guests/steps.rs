//! The two steps for a layer, each in its own instance.

use std::mem;

use keycell_core::contract::{DecoderPre, Origin};
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::DecoderHint;
use keycell_guest_store::record::Kind;
use keycell_settings::Task;
use keycell_settings::key_permissions::KeyPermissions;

use crate::broker::client::Broker;
use crate::input::candidates::Layer;
use crate::input::content_store;
use crate::input::keys::Keys;
use crate::input::payload::PayloadError;
use crate::input::spool::Spool;
use crate::report::crash;
use crate::report::failure::Ending;
use crate::sandbox::{deadline, walls};
use crate::unix::descriptors;

use super::hand_over::HandOverError;
use super::installed::Guest;
use super::native_code::NativeCode;
use super::shared::{Run, patience, prepare};
use super::trap::GuestFailure;
use super::{command, decrypt, hand_over, unwrap};

/// Decrypts the layer on standard input to standard output, with the payload from descriptor 3.
/// `embedded` is the guest that runs if no other is chosen.
///
/// # Errors
/// Why there is no layer.
#[inline(never)] // its frame held keys, and is wiped after it has returned
pub fn run(
    run: &Run<'_>,
    payload: Result<Vec<u8>, PayloadError>,
    embedded: &NativeCode,
) -> Result<(), Ending> {
    let Run { settings, limits, log } = run;
    if settings.task == Task::LayerKey {
        log.layer().is_key_only();
    }
    let payload = payload?;
    if !descriptors::stdout_was_open() {
        return Err(no_stdout());
    }
    if settings.decompress {
        descriptors::enlarge_pipes();
    }
    if settings.task == Task::LayerKey {
        hand_over::check(&payload)?;
    }
    let mut layer = Layer::default();
    let origin = if payload.is_empty() {
        let found = content_store::look(&settings.content_store, &mut layer.input)?;
        log.note(&found.shown);
        layer.blob = found.blob;
        layer.manifests = found.manifests;
        log.layer().is_in(layer.manifests.digests());
        Origin::Stored(found.stored)
    } else {
        Origin::Payload(payload)
    };
    // The broker starts before the guest runs, so that its processes inherit nothing from the guest.
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
        if settings.task == Task::LayerKey {
            return Err(HandOverError::CommandGuest.into());
        }
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
    if settings.task == Task::LayerKey {
        return hand_over::run(run, candidates);
    }
    let (candidate, input) = layer.choose(candidates)?;
    log.layer().opened(&candidate.opened, candidate.warning);
    crash::layer_is_known();
    let ended = decrypt::run(run, decoder, candidate.key, input).await;
    // They hold no key, and the process ends: dropping them would only take time.
    mem::forget((engine, guest));
    ended
}

/// The error for standard output that was closed at the start. Exit code 0 would be wrong.
fn no_stdout() -> Ending {
    let message = "standard output is closed, so there is nowhere to write the layer to";
    Diagnostic::new(message, DecoderHint::OpenStandardOutput).into()
}
