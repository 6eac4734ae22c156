//! The two steps of a layer, each in an instance of its own, and the verdict over them.

use ocicrypt::layer;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, Trap, UpdateDeadline};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use zeroize::Zeroize;

use crate::args::{CipherSide, Job};
use crate::artefact::Artefact;
use crate::broker::Broker;
use crate::cipher::{Loan, checked};
use crate::contract::{DecoderPre, Failure, LayerKey, Request};
use crate::descriptors::PayloadFault;
use crate::failures::{Ending, broken_guest, broken_host, foreign_guest, guest_failure};
use crate::instance::{self, Instance};
use crate::keys::{KeyPath, Keys};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::log::Log;
use crate::streams::{GuestLog, Sink, Source};
use crate::{deadline, descriptors, explain, failures, limits, message, walls};

/// Decrypts the layer on standard input to standard output, with what was on descriptor 3.
///
/// # Errors
/// Why there is no layer, with the way out.
pub fn run(
    job: &Job,
    payload: Result<Vec<u8>, PayloadFault>,
    guest: &Artefact,
    limits: Limits,
    log: &Log,
) -> Result<(), Ending> {
    let payload = payload.map_err(failures::payload_failure)?;
    if !descriptors::stdout_was_open() {
        return Err(failures::no_stdout().into());
    }
    // Before the guest: what a broker starts must not inherit anything of it.
    let mut broker = Broker::start();
    let keys = Keys::find(job.keys.as_deref())?.without_tokens(job.keys.as_deref(), &mut broker)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| broken_host(error.into()))?;
    runtime.block_on(async {
        let host = Host::start(guest, limits)?;
        let walls = limits.walls.then(|| walls::before_guest(job, &keys, &broker, log));
        let walls = walls.transpose()?;
        let key = host.unwrap(job, payload, keys, broker, log).await?;
        walls.map(|walls| walls::before_layer(walls, job)).transpose()?;
        host.decrypt(job, key, log).await
    })
}

/// The engine with the guest, ready to be instantiated.
struct Host {
    engine: Engine,
    guest: DecoderPre<Instance>,
    limits: Limits,
}

impl Host {
    fn start(guest: &Artefact, limits: Limits) -> Result<Self, Failure> {
        let (engine, component): (Engine, Component) = guest.load().map_err(broken_host)?;
        deadline::start(&engine).map_err(|error| broken_host(error.into()))?;
        let linker: Linker<Instance> = instance::linker(&engine).map_err(broken_host)?;
        let guest = linker.instantiate_pre(&component).and_then(DecoderPre::new);
        let guest = guest.map_err(|error| foreign_guest(&error))?;
        Ok(Self { engine, guest, limits })
    }

    /// The first step. Its instance, and with it every private key, is gone when this returns.
    async fn unwrap(
        &self,
        job: &Job,
        payload: Vec<u8>,
        keys: Keys,
        broker: Broker,
        log: &Log,
    ) -> Result<layer::LayerKey, Failure> {
        let is_missing = matches!(keys, Keys::Missing);
        let (directory, key_files, tokens) = match keys {
            Keys::NotConfigured | Keys::Missing => (None, Vec::new(), Vec::new()),
            Keys::Directory(path) => (Some(path), Vec::new(), Vec::new()),
            Keys::Files(files) => (None, files, Vec::new()),
            Keys::Sorted { files, tokens, skipped } => {
                skipped.iter().for_each(|line| log.note(&message::cleaned(line)));
                (None, files, tokens)
            }
        };
        let of_keys = KeyPath { path: job.keys.as_deref(), is_missing };
        let said = GuestLog::default();
        let instance = Instance::for_unwrap(directory.as_deref(), &said);
        let mut instance = instance.map_err(|error| of_keys.cannot_be_opened(&error))?;
        if job.explain {
            let keys = explain::Keys { directory: directory.as_deref(), files: &key_files };
            message::say(&explain::unwrap(&keys, &broker, &tokens, payload.len(), &self.limits));
        }
        let seconds = self.limits.unwrap_seconds;
        let patience = if broker.is_configured() { limits::BROKER_SECONDS } else { 0 };
        instance.broker = broker;
        instance.tokens = tokens;
        let mut store = instance.into_store(&self.engine);
        trap_when_late(&mut store, seconds);
        deadline::arm(seconds + patience, log);

        let media_type = std::env::var("STREAM_PROCESSOR_MEDIATYPE").ok();
        let mut request = Request { payload, media_type, key_files };
        let answer = async {
            let decoder = self.guest.instantiate_async(&mut store).await?;
            decoder.keycell_decoder_unwrapping().call_unwrap(&mut store, &request).await
        };
        let answer = answer.await;
        let exhausted = store.data().is_exhausted();
        drop(store);
        deadline::disarm();
        request.payload.zeroize(); // it may carry private keys
        request.key_files.iter_mut().for_each(|file| file.content.zeroize());
        remember(&said, log);

        let answer = answer.map_err(|error| guest_failure("unwrap", &error, &said, exhausted))?;
        let unwrapped = answer.map_err(|failure| of_keys.for_the_operator(failure))?;
        log.layer().opened(&unwrapped.opened, job.keys.as_deref());
        let mut record = unwrapped.key;
        let key = checked(&record);
        record.key.zeroize();
        key.map_err(|error| broken_guest("unwrap", &error.to_string()))
    }

    /// The second step. `Ok` only if the books say so.
    async fn decrypt(&self, job: &Job, key: layer::LayerKey, log: &Log) -> Result<(), Ending> {
        let said = GuestLog::default();
        let ledger = Ledger::default();
        let mut instance = Instance::for_decrypt(&said);
        let source: DynInputStream = Box::new(Source::new(ledger.clone()));
        let sink: DynOutputStream = Box::new(Sink::new(ledger.clone(), job.cipher));
        let source = instance.table.push(source).map_err(|error| broken_host(error.into()))?;
        let sink = instance.table.push(sink).map_err(|error| broken_host(error.into()))?;
        let mut record = record(&key);
        if job.cipher == CipherSide::Host {
            instance.loan = Some(Loan { key, source: source.rep(), ledger: ledger.clone() });
        }
        if job.explain {
            message::say(&explain::decrypt(job.cipher));
        }
        let mut store = instance.into_store(&self.engine);
        trap_when_stalled(&mut store, ledger.clone(), self.limits.stall_seconds);

        let answer = async {
            let decoder = self.guest.instantiate_async(&mut store).await?;
            let decrypting = decoder.keycell_decoder_decrypting();
            decrypting.call_decrypt(&mut store, &record, source, sink).await
        };
        let answer = answer.await;
        record.key.zeroize();
        let exhausted = store.data().is_exhausted();
        remember(&said, log);
        let answer = answer.map_err(|error| guest_failure("decrypt", &error, &said, exhausted));
        let verdict = verdict(job.cipher, answer.flatten(), &ledger);
        log.layer().moved(ledger.books().written);
        verdict
    }
}

/// What the host has seen comes first, what the guest says second, and its `ok` is not enough.
fn verdict(side: CipherSide, answer: Result<(), Failure>, ledger: &Ledger) -> Result<(), Ending> {
    let fault = ledger.books().take_fault();
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    answer?;
    let mut books = ledger.books();
    if !books.is_complete(side) {
        let why = "it says that it is done, but the layer is not";
        return Err(broken_guest("decrypt", why).into());
    }
    let _ = books.let_go(); // what goes wrong with it is in the books
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
fn trap_when_stalled(store: &mut Store<Instance>, ledger: Ledger, seconds: u64) {
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

fn record(key: &layer::LayerKey) -> LayerKey {
    LayerKey {
        cipher: layer::AES_256_CTR_HMAC_SHA256.to_owned(),
        key: key.key().to_vec(),
        nonce: key.nonce().to_vec(),
        hmac: key.hmac().to_vec(),
        digest: key.digest(),
        length: key.length(),
    }
}

/// What a guest notes about keys that it passed over goes to the log: on success containerd drops
/// standard error, and the original is silent.
fn remember(said: &GuestLog, log: &Log) {
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
