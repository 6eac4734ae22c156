//! The first step: it unwraps the layer key with the payload and the private keys.

use std::path::Path;

use keycell_core::contract::{Algorithms, DecoderPre, KeyFile, Origin, Request, Unwrapped};
use keycell_core::guest_log::GuestLog;
use keycell_core::{Instance, layer_key, limits};
use keycell_settings::MinAlgorithms;
use keycell_settings::key_permissions::KeyPermissions;
use ocicrypt::layer::LayerError;
use wasmtime::{Engine, Store, Trap, UpdateDeadline};
use zeroize::Zeroize;

use crate::broker::client::Broker;
use crate::broker::imports::SharedBroker;
use crate::input::candidates::Candidate;
use crate::input::content_store::Manifests;
use crate::input::keys::{KeyPath, Keys, PassedOver};
use crate::report::failure::{Ending, Failure};
use crate::report::log::Log;
use crate::report::{explain, stderr};
use crate::sandbox::deadline;

use super::shared::{Run, log_stderr, patience};
use super::trap::GuestFailure;

/// The private keys in the form in which the instance gets them.
struct Granted {
    directory: Option<std::path::PathBuf>,
    files: Vec<KeyFile>,
    tokens: Vec<String>,
    passed_over: PassedOver,
}

impl Granted {
    fn new(keys: Keys, log: &Log) -> Self {
        let mut granted = Self {
            directory: None,
            files: Vec::new(),
            tokens: Vec::new(),
            passed_over: PassedOver::default(),
        };
        match keys {
            Keys::NotConfigured | Keys::Missing => {}
            Keys::Directory(path) => granted.directory = Some(path),
            Keys::Files(files) => granted.files = files,
            Keys::Sorted { files, tokens, passed_over } => {
                passed_over.note(log);
                granted = Self { directory: None, files, tokens, passed_over };
            }
        }
        granted
    }
}

/// Runs the step in its own instance. When this returns, the instance has been dropped, with every
/// private key in it. `manifests` are those of `origin`, if there is no payload.
///
/// # Errors
/// Why there is no layer key.
pub async fn run(
    run: &Run<'_>,
    (engine, guest): (&Engine, &DecoderPre<Instance>),
    (origin, manifests): (Origin, &Manifests),
    (keys, permissions): (Keys, Option<&KeyPermissions>),
    broker: Broker,
) -> Result<Vec<Candidate>, Ending> {
    let Run { settings, limits, log } = run;
    let is_missing = matches!(keys, Keys::Missing);
    let key_path = KeyPath { path: settings.keys.as_deref(), is_missing };
    let Granted { directory, files: key_files, tokens, passed_over } = Granted::new(keys, log);
    let guest_log = GuestLog::default();
    let instance = Instance::for_unwrap(directory.as_deref(), &guest_log);
    let mut instance = instance.map_err(|error| key_path.cannot_be_opened(&error))?;
    if settings.report.explain {
        let keys = explain::Keys { directory: directory.as_deref(), files: &key_files };
        stderr::say(&explain::unwrap(&keys, broker.is_configured(), &tokens, &origin, limits));
    }
    let patience = patience(&broker);
    let broker = SharedBroker::new(broker, tokens);
    instance.broker = Box::new(broker.clone());
    let mut store = instance.into_store(engine);
    trap_when_late(&mut store, limits.unwrap_seconds);
    deadline::arm(limits.unwrap_seconds + patience);

    let mut request = request(origin, key_files, settings.algorithms);
    let answer = async {
        let decoder = guest.instantiate_async(&mut store).await?;
        decoder.keycell_decoder_unwrapping().call_unwrap(&mut store, &request).await
    };
    let answer = answer.await;
    let exhausted = store.data().is_exhausted();
    drop(store);
    let (refusals, calls) = broker.end();
    log.layer().asked(calls);
    deadline::disarm();
    if let Origin::Payload(payload) = &mut request.origin {
        payload.zeroize(); // it may carry private keys
    }
    request.key_files.iter_mut().for_each(|file| file.content.zeroize());
    log_stderr(&guest_log, log);

    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let failure = GuestFailure::new("unwrap", error, &guest_log, exhausted);
            let failure = keycell_diagnostic::Diagnostic::from(failure).into();
            return Err(refusals.add_to(failure, Vec::new(), log).into());
        }
    };
    let mut records = answer.map_err(|mut failure| {
        let numbers = std::mem::take(&mut failure.refusals);
        let indices = std::mem::take(&mut failure.manifests);
        let failure = key_path.for_the_operator(failure.into());
        let failure = passed_over.add_to(refusals.add_to(failure, numbers, log));
        of_manifests(failure, manifests, manifests.at(&indices))
    })?;
    let candidates = check_answer(&records, &request.origin, permissions);
    records.iter_mut().for_each(|record| record.key.key.zeroize());
    Ok(candidates.map_err(|why| GuestFailure::broken("unwrap", why))?)
}

fn request(origin: Origin, key_files: Vec<KeyFile>, algorithms: MinAlgorithms) -> Request {
    let media_type = std::env::var("STREAM_PROCESSOR_MEDIATYPE").ok();
    let algorithms = match algorithms {
        MinAlgorithms::Legacy => Algorithms::Legacy,
        MinAlgorithms::Modern => Algorithms::Modern,
    };
    Request { origin, media_type, key_files, algorithms }
}

/// Adds to the failure the digests of the manifests that caused it.
fn of_manifests(mut failure: Failure, manifests: &Manifests, digests: Vec<String>) -> Failure {
    if !digests.is_empty() {
        failure.diagnostic.hints.extend(manifests.ambiguous().map(Into::into));
        failure.manifests = vec![digests];
    }
    failure
}

/// The directory of `keys`, if the instance reads one.
pub fn directory(keys: &Keys) -> Option<&Path> {
    match keys {
        Keys::Directory(path) => Some(path),
        _ => None,
    }
}

/// Checks the number of keys that the guest returned against the contract, and each key. It also finds
/// out who can read their files, because no file can be opened later.
fn check_answer(
    records: &[Unwrapped],
    origin: &Origin,
    permissions: Option<&KeyPermissions>,
) -> Result<Vec<Candidate>, BadAnswer> {
    let (most, manifests) = match origin {
        Origin::Payload(_) => (1, 0),
        Origin::Stored(stored) => (limits::LAYER_KEYS, stored.manifests.len()),
    };
    if !(1..=most).contains(&records.len()) {
        return Err(BadAnswer::Keys(records.len()));
    }
    let candidates = records.iter().map(|Unwrapped { key, opened, manifests: indices }| {
        let key = layer_key::check(key)?;
        let is_ascending = indices.is_sorted_by(|a, b| a < b);
        let is_within = indices.last().is_none_or(|last| (*last as usize) < manifests);
        if !is_ascending || !is_within || indices.is_empty() != (manifests == 0) {
            return Err(BadAnswer::Manifests);
        }
        let warning = permissions.and_then(|permissions| permissions.warning(&opened.key));
        Ok(Candidate { key, opened: opened.clone(), manifests: indices.clone(), warning })
    });
    candidates.collect()
}

/// What is wrong with the answer of `unwrap`.
#[derive(Debug, thiserror::Error)]
enum BadAnswer {
    /// There must be one, or up to a few for stored manifests.
    #[error("it returned {0} layer keys")]
    Keys(usize),
    /// A key is invalid.
    #[error(transparent)]
    Key(#[from] LayerError),
    /// The indices must be those of manifests that the host passed, if there are any.
    #[error("it returned a layer key of manifests that there are not")]
    Manifests,
}

/// Stops a guest that takes too long. The seconds that the broker takes do not count as the guest's.
fn trap_when_late(store: &mut Store<Instance>, seconds: u64) {
    let mut granted = 0;
    store.set_epoch_deadline(seconds);
    store.epoch_deadline_callback(move |store| {
        let brokered = store.data().broker.seconds();
        if brokered == granted {
            return Err(Trap::Interrupt.into());
        }
        let more = brokered - granted;
        granted = brokered;
        Ok(UpdateDeadline::Continue(more))
    });
}
