//! The two steps of a layer, each in an instance of its own, and the verdict over them.

use std::mem;

use keycell_guest_store::record::Kind;
use ocicrypt::layer::{self, Witness};
use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Engine, Store, Trap, UpdateDeadline};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use zeroize::Zeroize;

use crate::args::{CipherSide, Job, MinAlgorithms};
use crate::artefact::Artefact;
use crate::broker::Broker;
use crate::choice::{Candidate, Layer};
use crate::cipher::{Cipher, Loan, Own};
use crate::contract::{Algorithms, DecoderPre, Failure, Origin, Request, Unwrapped};
use crate::descriptors::PayloadFault;
use crate::exposure::Exposure;
use crate::failures::{Ending, broken_guest, broken_host, foreign_guest, guest_failure};
use crate::input::Input;
use crate::installed::Guest;
use crate::instance::{self, Instance};
use crate::keys::{KeyPath, Keys, PassedOver};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::log::Log;
use crate::record::checked;
use crate::spool::Spool;
use crate::streams::{GuestLog, Sink, Source};
use crate::{
    command, crash, deadline, descriptors, explain, failures, limits, message, store, walls,
};

/// Decrypts the layer on standard input to standard output, with what was on descriptor 3.
/// `embedded` is the guest where no other was chosen.
///
/// # Errors
/// Why there is no layer, with the way out.
#[inline(never)] // its frame held keys, and is wiped when it has returned
pub fn run(
    job: &Job,
    payload: Result<Vec<u8>, PayloadFault>,
    embedded: &Artefact,
    limits: Limits,
    log: &Log,
) -> Result<(), Ending> {
    let payload = payload.map_err(failures::payload_failure)?;
    if !descriptors::stdout_was_open() {
        return Err(failures::no_stdout().into());
    }
    let mut layer = Layer::default();
    let origin = if payload.is_empty() {
        let found = store::look(&job.content_store, &mut layer.input)?;
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
    let keys = Keys::find(job.keys.as_deref())?.without_tokens(job.keys.as_deref(), &mut broker)?;
    let exposure = job.keys.as_deref().and_then(Exposure::of);
    log.layer().warns(exposure.as_ref().and_then(Exposure::directory));
    let guest = Guest::choose(job, *embedded)?;
    log.layer().runs(guest.digest());
    layer.spool = job.verify_first.as_ref().map(Spool::make).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| broken_host(error.into()))?;
    runtime.block_on(async {
        if guest.kind == Kind::Command {
            drop(broker);
            let payload = failures::for_a_command(origin, job.verify_first.is_some())?;
            return command::run(job, &guest, payload, keys, limits, log).await;
        }
        let host = Host::start(&guest, exposure, limits)?;
        let walls = limits.walls.then(|| walls::before_guest("unwrap", job, &keys, &broker, log));
        let walls = walls.transpose()?;
        let candidates = host.unwrap(job, origin, keys, broker, log).await;
        let candidates =
            candidates.map_err(|failure| failures::of_manifests(failure, &layer.manifests))?;
        walls.map(|walls| walls::before_layer(walls, job, log)).transpose()?;
        let (candidate, input) = layer.choose(candidates)?;
        log.layer().opened(&candidate.opened, candidate.warning);
        crash::layer_is_known();
        let ended = host.decrypt(job, candidate.key, input, log).await;
        mem::forget(host); // it knows no key, the process ends, and taking it apart takes long
        ended
    })
}

/// Seconds that key providers and tokens take beside the guest's.
fn patience(broker: &Broker) -> u64 {
    if broker.is_configured() { limits::BROKER_SECONDS } else { 0 }
}

/// The engine with the guest, ready to be instantiated.
struct Host {
    engine: Engine,
    guest: DecoderPre<Instance>,
    limits: Limits,
    /// Who else may read or change the keys.
    exposure: Option<Exposure>,
}

impl Host {
    fn start(guest: &Guest, exposure: Option<Exposure>, limits: Limits) -> Result<Self, Failure> {
        let (engine, guest) = prepare(guest)?;
        let guest = DecoderPre::new(guest).map_err(|error| foreign_guest(&error))?;
        Ok(Self { engine, guest, limits, exposure })
    }

    /// The first step. Its instance, and with it every private key, is gone when this returns.
    async fn unwrap(
        &self,
        job: &Job,
        origin: Origin,
        keys: Keys,
        broker: Broker,
        log: &Log,
    ) -> Result<Vec<Candidate>, Failure> {
        let is_missing = matches!(keys, Keys::Missing);
        let mut passed_over = PassedOver::default();
        let (directory, key_files, tokens) = match keys {
            Keys::NotConfigured | Keys::Missing => (None, Vec::new(), Vec::new()),
            Keys::Directory(path) => (Some(path), Vec::new(), Vec::new()),
            Keys::Files(files) => (None, files, Vec::new()),
            Keys::Sorted { files, tokens, passed_over: others } => {
                others.note(log);
                passed_over = others;
                (None, files, tokens)
            }
        };
        let of_keys = KeyPath { path: job.keys.as_deref(), is_missing };
        let said = GuestLog::default();
        let instance = Instance::for_unwrap(directory.as_deref(), &said);
        let mut instance = instance.map_err(|error| of_keys.cannot_be_opened(&error))?;
        if job.explain {
            let keys = explain::Keys { directory: directory.as_deref(), files: &key_files };
            message::say(&explain::unwrap(&keys, &broker, &tokens, &origin, &self.limits));
        }
        let seconds = self.limits.unwrap_seconds;
        let patience = patience(&broker);
        instance.broker = broker;
        instance.tokens = tokens;
        let mut store = instance.into_store(&self.engine);
        trap_when_late(&mut store, seconds);
        deadline::arm(seconds + patience);

        let media_type = std::env::var("STREAM_PROCESSOR_MEDIATYPE").ok();
        let algorithms = match job.algorithms {
            MinAlgorithms::Legacy => Algorithms::Legacy,
            MinAlgorithms::Modern => Algorithms::Modern,
        };
        let mut request = Request { origin, media_type, key_files, algorithms };
        let answer = async {
            let decoder = self.guest.instantiate_async(&mut store).await?;
            decoder.keycell_decoder_unwrapping().call_unwrap(&mut store, &request).await
        };
        let answer = answer.await;
        let exhausted = store.data().is_exhausted();
        let refusals = mem::take(&mut store.data_mut().refusals);
        drop(store);
        deadline::disarm();
        if let Origin::Payload(payload) = &mut request.origin {
            payload.zeroize(); // it may carry private keys
        }
        request.key_files.iter_mut().for_each(|file| file.content.zeroize());
        remember(&said, log);

        let answer = answer.map_err(|error| {
            refusals.tell(guest_failure("unwrap", &error, &said, exhausted), log)
        })?;
        let mut records = answer.map_err(|failure| {
            passed_over.tell(refusals.tell(of_keys.for_the_operator(failure), log))
        })?;
        let candidates = candidates(&records, &request.origin, self.exposure.as_ref());
        records.iter_mut().for_each(|record| record.key.key.zeroize());
        candidates.map_err(|why| broken_guest("unwrap", &why.to_string()))
    }

    /// The second step. `Ok` only if the books say so.
    async fn decrypt(
        &self,
        job: &Job,
        key: layer::LayerKey,
        input: Input,
        log: &Log,
    ) -> Result<(), Ending> {
        let said = GuestLog::default();
        let ledger = Ledger::default();
        let mut instance = Instance::for_decrypt(&said);
        let (lent, granted) = match job.cipher {
            CipherSide::Host => (input, Input::default()),
            CipherSide::Guest => (Input::default(), input),
        };
        let source: DynInputStream = Box::new(Source::new(granted, ledger.clone()));
        let sink: DynOutputStream = Box::new(Sink::new(ledger.clone(), job.cipher));
        let source = instance.table.push(source).map_err(|error| broken_host(error.into()))?;
        let sink = instance.table.push(sink).map_err(|error| broken_host(error.into()))?;
        instance.cipher = match job.cipher {
            CipherSide::Host => {
                let (source, ledger) = (source.rep(), ledger.clone());
                Cipher::Lent(Loan { key, source, input: lent, ledger })
            }
            CipherSide::Guest => {
                ledger.books().witness = Some(Witness::new(&key));
                Cipher::Own(Own { key, source: source.rep() })
            }
        };
        if job.explain {
            message::say(&explain::decrypt(job.cipher));
        }
        let mut store = instance.into_store(&self.engine);
        trap_when_stalled(&mut store, ledger.clone(), self.limits.stall_seconds);

        let answer = async {
            let decoder = self.guest.instantiate_async(&mut store).await?;
            let decrypting = decoder.keycell_decoder_decrypting();
            decrypting.call_decrypt(&mut store, source, sink).await
        };
        let answer = answer.await;
        let exhausted = store.data().is_exhausted();
        remember(&said, log);
        let answer = answer.map_err(|error| guest_failure("decrypt", &error, &said, exhausted));
        let verdict = verdict(job.cipher, answer.flatten(), &ledger);
        log.layer().moved(ledger.books().written);
        verdict
    }
}

/// The keys among what the guest returned, each checked: as many as the contract allows. What is to
/// be said of the files in `keys` is found out here: later nothing can be opened any more.
fn candidates(
    records: &[Unwrapped],
    origin: &Origin,
    exposure: Option<&Exposure>,
) -> Result<Vec<Candidate>, BadAnswer> {
    let (most, manifests) = match origin {
        Origin::Payload(_) => (1, 0),
        Origin::Stored(stored) => (limits::LAYER_KEYS, stored.manifests.len()),
    };
    if !(1..=most).contains(&records.len()) {
        return Err(BadAnswer::Keys(records.len()));
    }
    let candidates = records.iter().map(|Unwrapped { key, opened, manifests: places }| {
        let key = checked(key)?;
        let is_ascending = places.is_sorted_by(|a, b| a < b);
        let is_within = places.last().is_none_or(|last| (*last as usize) < manifests);
        if !is_ascending || !is_within || places.is_empty() != (manifests == 0) {
            return Err(BadAnswer::Manifests);
        }
        let warning = exposure.and_then(|exposure| exposure.warning(&opened.key));
        Ok(Candidate { key, opened: opened.clone(), manifests: places.clone(), warning })
    });
    candidates.collect()
}

/// What is wrong with the answer of `unwrap`.
#[derive(Debug, thiserror::Error)]
enum BadAnswer {
    /// There has to be one, or, for stored manifests, a few.
    #[error("it returned {0} layer keys")]
    Keys(usize),
    /// A key is none.
    #[error(transparent)]
    Key(#[from] layer::LayerError),
    /// They have to be places of manifests that the host handed over, where there are any.
    #[error("it returned a layer key of manifests that there are not")]
    Manifests,
}

/// The guest with everything linked that it imports, in an engine whose epoch advances.
///
/// # Errors
/// A guest for another engine, or one that imports what no guest is granted.
pub fn prepare(guest: &Guest) -> Result<(Engine, InstancePre<Instance>), Failure> {
    let (engine, component) = guest.component()?;
    deadline::advance(&engine);
    let linker: Linker<Instance> = instance::linker(&engine, &component).map_err(broken_host)?;
    let guest = linker.instantiate_pre(&component).map_err(|error| foreign_guest(&error))?;
    mem::forget(linker); // a thousand small pieces, and none of them is secret
    Ok((engine, guest))
}

/// What the host has seen comes first, what the guest says second, and its `ok` is not enough.
fn verdict(side: CipherSide, answer: Result<(), Failure>, ledger: &Ledger) -> Result<(), Ending> {
    let fault = ledger.books().take_fault();
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    answer?;
    if !ledger.books().is_complete(side) {
        let why = "it says that it is done, but the layer is not";
        return Err(broken_guest("decrypt", why).into());
    }
    let_go(ledger)
}

/// What was held back goes out, if the witness says so too, where there is one.
///
/// # Errors
/// A layer that is not genuine, or cannot be written.
pub fn let_go(ledger: &Ledger) -> Result<(), Ending> {
    let mut books = ledger.books();
    let _ = books.hear_witness().and_then(|()| books.let_go()); // the books say what went wrong
    books.take_fault().map_or(Ok(()), |fault| Err(fault.into()))
}

/// The seconds that a broker takes are not the guest's.
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

/// A guest that computes without moving a byte is stopped; one that waits for a slow registry is
/// not, since it does not run while it waits.
pub fn trap_when_stalled(store: &mut Store<Instance>, ledger: Ledger, seconds: u64) {
    let (mut seen, mut idle) = (0, 0);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        let progress = ledger.books().progress();
        idle = if progress == seen { idle + 1 } else { 0 };
        seen = progress;
        if idle > seconds {
            return Err(Trap::Interrupt.into());
        }
        Ok(UpdateDeadline::Continue(1))
    });
}

/// What a guest notes about keys that it passed over goes to the log: on success containerd drops
/// standard error, and the original is silent.
pub fn remember(said: &GuestLog, log: &Log) {
    let said = said.text();
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    for line in lines.clone().take(limits::GUEST_LINES) {
        log.note(&format!("guest: {}", message::cleaned(line)));
    }
    let more = lines.skip(limits::GUEST_LINES).count();
    if more > 0 {
        log.note(&format!("guest: … and {more} lines more"));
    }
}
