//! What an instance of the guest is granted.

use std::path::Path;

use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Result, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::DynInputStream;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::cipher::Cipher;
use crate::contract::{broker, cipher, providers, tokens, types};
use crate::guest_log::GuestLog;
use crate::limits;
use crate::streams::{Closed, Sink, Source};

/// Key providers and tokens that a guest can ask.
pub trait BrokerImports: broker::Host + providers::Host + tokens::Host + Send {
    /// Seconds that they have taken so far, rounded up. They do not count as the guest's time.
    fn seconds(&self) -> u64;
}

/// The state of one instance: everything that it was granted.
pub struct Instance {
    /// Files, streams, arguments; and the handles of WASI 0.1, which core modules hold.
    pub wasi: WasiP1Ctx,
    /// The handles of the component model that the instance holds.
    pub table: ResourceTable,
    limits: Limiter,
    /// The host's cipher.
    pub cipher: Cipher,
    /// Key providers and tokens.
    pub broker: Box<dyn BrokerImports>,
    /// Random numbers.
    pub(crate) entropy: bool,
    /// The instance's own clock, in nanoseconds.
    pub(crate) clock: Option<u64>,
}

impl Instance {
    /// An instance for `unwrap`: it gets the keys directory, read-only, as `/keys`, and random numbers
    /// for blinding.
    ///
    /// # Errors
    /// The directory cannot be opened.
    ///
    /// # Ambient Authority
    /// Opens `keys` with the rights of this process.
    pub fn for_unwrap(keys: Option<&Path>, log: &GuestLog) -> Result<Self> {
        let mut wasi = Self::context(log);
        grant(&mut wasi, keys)?;
        Ok(Self { entropy: true, ..Self::bare(wasi) })
    }

    /// An instance for a command: it gets what both steps get, and a clock that only it advances.
    ///
    /// # Errors
    /// The directory cannot be opened.
    ///
    /// # Ambient Authority
    /// Opens `keys` with the rights of this process.
    pub fn for_command(
        name: &str,
        keys: Option<&Path>,
        source: Source,
        sink: Sink,
        log: &GuestLog,
    ) -> Result<Self> {
        let mut wasi = Self::context(log);
        wasi.stdin(source).stdout(sink).args(&[name, "--payload", "-"]);
        grant(&mut wasi, keys)?;
        Ok(Self { entropy: true, clock: Some(0), ..Self::bare(wasi) })
    }

    /// An instance for `decrypt`: it gets nothing except its later arguments.
    pub fn for_decrypt(log: &GuestLog) -> Self {
        Self::bare(Self::context(log))
    }

    fn bare(wasi: WasiCtxBuilder) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HANDLES);
        let limits = StoreLimitsBuilder::new()
            .memory_size(limits::MEMORY)
            .memories(4)
            .tables(16)
            .instances(32)
            .table_elements(100_000)
            .build();
        let limits = Limiter { limits, memory: 0, exhausted: false };
        Self {
            wasi: built(wasi),
            table,
            limits,
            cipher: Cipher::NoLayer,
            broker: Box::new(NoBroker),
            entropy: false,
            clock: None,
        }
    }

    /// A context without arguments, variables, files or streams, except for standard error.
    fn context(log: &GuestLog) -> WasiCtxBuilder {
        let mut wasi = WasiCtx::builder();
        wasi.stdin(Closed).stdout(Closed).stderr(log.clone());
        wasi
    }

    /// Whether the instance was refused memory beyond its limit.
    pub fn is_exhausted(&self) -> bool {
        self.limits.exhausted
    }

    /// Makes a store that enforces the instance's limits.
    pub fn into_store(self, engine: &Engine) -> Store<Self> {
        let mut store = Store::new(engine, self);
        store.limiter(|instance| &mut instance.limits);
        store.set_hostcall_fuel(limits::HOSTCALL);
        store
    }
}

fn built(mut wasi: WasiCtxBuilder) -> WasiP1Ctx {
    let mut wasi = wasi.build_p1();
    wasi.ctx().table.set_max_capacity(limits::HANDLES);
    wasi
}

/// Grants the directory as `/keys`, read-only.
fn grant(wasi: &mut WasiCtxBuilder, keys: Option<&Path>) -> Result<()> {
    if let Some(keys) = keys {
        // The file system waits for nothing else, so it needs no thread.
        wasi.allow_blocking_current_thread(true);
        wasi.preopened_dir(keys, "/keys", FsPerms::ReadOnly)?;
    }
    Ok(())
}

/// Limits that remember whether memory ran out: a guest that is refused memory traps in the same way as
/// one with a bug.
struct Limiter {
    limits: StoreLimits,
    /// Bytes of all linear memories.
    memory: usize,
    exhausted: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, now: usize, then: usize, most: Option<usize>) -> Result<bool> {
        // The limit applies to all memories together, because a guest may have several.
        let total = self.memory + then.saturating_sub(now);
        let granted = total <= limits::MEMORY && self.limits.memory_growing(now, then, most)?;
        if granted {
            self.memory = total;
        } else {
            self.exhausted = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, now: usize, then: usize, most: Option<usize>) -> Result<bool> {
        self.limits.table_growing(now, then, most)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}

impl WasiView for Instance {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.ctx().ctx, table: &mut self.table }
    }
}

impl types::Host for Instance {}

impl cipher::Host for Instance {
    fn open(
        &mut self,
        source: Resource<DynInputStream>,
    ) -> Result<Result<Resource<DynInputStream>, cipher::Refusal>> {
        self.cipher.open(source, &mut self.table)
    }
}

/// The imports of an instance that is granted neither key providers nor tokens.
struct NoBroker;

impl BrokerImports for NoBroker {
    fn seconds(&self) -> u64 {
        0
    }
}

impl broker::Host for NoBroker {}

impl providers::Host for NoBroker {
    fn unwrap(
        &mut self,
        _: String,
        _: Vec<u8>,
        _: Vec<Vec<u8>>,
    ) -> Result<Result<Vec<u8>, broker::Refusal>> {
        Ok(Err(broker::Refusal::NotConfigured))
    }
}

impl tokens::Host for NoBroker {
    fn keys(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn decrypt(
        &mut self,
        _: tokens::TokenKey,
        _: tokens::OaepHash,
        _: Vec<u8>,
    ) -> Result<Result<Vec<u8>, broker::Refusal>> {
        Ok(Err(broker::Refusal::NotConfigured))
    }
}
