//! What all ways of running a guest share.

use std::mem;

use keycell_core::guest_log::GuestLog;
use keycell_core::sanitize::sanitize;
use keycell_core::{Instance, Limits, SharedAccounting, limits, linker};
use keycell_settings::Settings;
use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store, Trap, UpdateDeadline};

use crate::broker::client::Broker;
use crate::report::failure::Ending;
use crate::report::log::Log;
use crate::sandbox::{deadline, files};

use super::installed::Guest;
use super::sockets;
use super::trap::GuestFailure;

/// What every part of one run needs.
pub struct Run<'a> {
    /// How to decrypt.
    pub settings: &'a Settings,
    /// How long the steps may take.
    pub limits: Limits,
    /// Where to log.
    pub log: &'a Log,
}

/// The seconds that key providers and tokens may take in addition to the guest's time.
pub fn patience(broker: &Broker) -> u64 {
    if broker.is_configured() { limits::BROKER_SECONDS } else { 0 }
}

/// Returns the guest, with all its imports linked, in an engine whose epoch advances.
///
/// # Errors
/// The guest is for another engine, or it imports what no guest is granted.
pub fn prepare(guest: &Guest) -> Result<(Engine, InstancePre<Instance>), Ending> {
    let (engine, component) = guest.component()?;
    deadline::advance(&engine);
    let linker = linker::linker(&engine, &component, &files::INTERFACES);
    let mut linker = linker.map_err(GuestFailure::Host)?;
    sockets::refuse(&mut linker, &engine, &component).map_err(GuestFailure::Host)?;
    let guest = linker.instantiate_pre(&component).map_err(GuestFailure::Foreign)?;
    mem::forget(linker); // the linker holds a thousand small allocations, none of which is secret
    Ok((engine, guest))
}

/// Stops a guest that computes without moving a byte. A guest that waits for a slow registry is not
/// stopped, since it does not run while it waits.
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

/// Logs what a guest wrote to its standard error, such as notes about keys that it passed over.
/// containerd drops standard error on success, and Go ctd-decoder writes nothing to it.
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
