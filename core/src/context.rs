//! What an instance of the guest can reach: by what is linked, and by what its context holds.

use std::path::Path;

use wasmtime::component::{Component, HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Result, Store, StoreLimits, StoreLimitsBuilder, bail};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::WasiFilesystemView;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait};

use crate::broker::Broker;
use crate::cipher::Cipher;
use crate::contract::keycell::decoder::{broker, cipher, providers, tokens, types};
use crate::files::{Files, HasFiles};
use crate::limits;
use crate::refusals::Refusals;
use crate::streams::{Closed, GuestLog, Sink, Source};

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
    pub broker: Broker,
    /// Why these failed.
    pub refusals: Refusals,
    /// The keys in tokens, as they may be shown.
    pub tokens: Vec<String>,
    /// Random numbers.
    entropy: bool,
    /// The instance's own clock, in nanoseconds.
    clock: Option<u64>,
}

impl Instance {
    /// For `unwrap`: the keys directory, read-only, as `/keys`, and random numbers for blinding.
    ///
    /// # Errors
    /// A directory that cannot be opened.
    ///
    /// # Ambient Authority
    /// Opens `keys` with the rights of this process.
    pub fn for_unwrap(keys: Option<&Path>, log: &GuestLog) -> Result<Self> {
        let mut wasi = Self::context(log);
        grant(&mut wasi, keys)?;
        Ok(Self { entropy: true, ..Self::bare(wasi) })
    }

    /// For a command: what both steps have, in one instance, and a clock that only it moves.
    ///
    /// # Errors
    /// A directory that cannot be opened.
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

    /// For `decrypt`: nothing but what its arguments will be.
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
            broker: Broker::none(),
            refusals: Refusals::default(),
            tokens: Vec::new(),
            entropy: false,
            clock: None,
        }
    }

    /// No argument, no variable, no file, no stream but the log.
    fn context(log: &GuestLog) -> WasiCtxBuilder {
        let mut wasi = WasiCtx::builder();
        wasi.stdin(Closed).stdout(Closed).stderr(log.clone());
        wasi
    }

    fn files(&mut self) -> Files<'_> {
        Files(self.filesystem())
    }

    /// Whether the instance was refused memory beyond its limit.
    pub fn is_exhausted(&self) -> bool {
        self.limits.exhausted
    }

    /// A store that keeps the instance's limits.
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

/// `/keys`, read-only.
fn grant(wasi: &mut WasiCtxBuilder, keys: Option<&Path>) -> Result<()> {
    if let Some(keys) = keys {
        // The file system does not wait for anything else, so no thread is needed for it.
        wasi.allow_blocking_current_thread(true);
        wasi.preopened_dir(keys, "/keys", FsPerms::ReadOnly)?;
    }
    Ok(())
}

/// Limits that remember whether memory ran out: a guest that gets none traps like one with a bug.
struct Limiter {
    limits: StoreLimits,
    /// Bytes of all linear memories.
    memory: usize,
    exhausted: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, now: usize, then: usize, most: Option<usize>) -> Result<bool> {
        // Of all memories together: a guest may have several.
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

/// What `guest` imports of everything that a guest can: what it does not would only take time.
///
/// # Errors
/// Where wasmtime does not accept a definition.
pub fn linker(engine: &Engine, guest: &Component) -> Result<Linker<Instance>> {
    let component = guest.component_type();
    // Whatever version it names, or versions: the linker looks for a compatible one.
    let imported: Vec<&str> = component
        .imports(engine)
        .map(|(name, _)| name.split_once('@').map_or(name, |(name, _version)| name))
        .collect();
    let mut linker = Linker::<Instance>::new(engine);
    for (interface, add) in INTERFACES {
        if imported.contains(interface) {
            add(&mut linker)?;
        }
    }
    Ok(linker)
}

type Add = fn(&mut Linker<Instance>) -> Result<()>;

/// Everything that a guest can import. Sockets do not exist, clocks trap; what only one of the
/// steps is granted answers the other that it is not, because a component cannot be instantiated
/// with an import missing.
const INTERFACES: &[(&str, Add)] = &[
    ("wasi:io/error", |l| io::error::add_to_linker::<_, Table>(l, |i| &mut i.table)),
    ("wasi:io/poll", |l| io::poll::add_to_linker::<_, Table>(l, |i| &mut i.table)),
    ("wasi:io/streams", |l| io::streams::add_to_linker::<_, Table>(l, |i| &mut i.table)),
    ("wasi:filesystem/types", |l| {
        filesystem::types::add_to_linker::<_, HasFiles>(l, Instance::files)
    }),
    ("wasi:filesystem/preopens", |l| {
        filesystem::preopens::add_to_linker::<_, HasFiles>(l, Instance::files)
    }),
    ("wasi:cli/environment", |l| cli::environment::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/exit", |l| cli::exit::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/stdin", |l| cli::stdin::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/stdout", |l| cli::stdout::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/stderr", |l| cli::stderr::add_to_linker::<_, WasiCli>(l, Instance::cli)),
    ("wasi:cli/terminal-input", |l| {
        cli::terminal_input::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-output", |l| {
        cli::terminal_output::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-stdin", |l| {
        cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-stdout", |l| {
        cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:cli/terminal-stderr", |l| {
        cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Instance::cli)
    }),
    ("wasi:random/random", |l| {
        random::random::add_to_linker::<_, Entropy>(l, |i| Entropy(i.entropy))
    }),
    ("wasi:random/insecure", |l| {
        random::insecure::add_to_linker::<_, Entropy>(l, |i| Entropy(i.entropy))
    }),
    ("wasi:random/insecure-seed", |l| {
        random::insecure_seed::add_to_linker::<_, Entropy>(l, |i| Entropy(i.entropy))
    }),
    ("wasi:clocks/monotonic-clock", |l| {
        clocks::monotonic_clock::add_to_linker::<_, Clock<'static>>(l, Instance::clock)
    }),
    ("wasi:clocks/wall-clock", |l| {
        clocks::wall_clock::add_to_linker::<_, Clock<'static>>(l, Instance::clock)
    }),
    ("keycell:decoder/types", |l| types::add_to_linker::<_, HasSelf<Instance>>(l, |i| i)),
    ("keycell:decoder/cipher", |l| cipher::add_to_linker::<_, HasSelf<Instance>>(l, |i| i)),
    ("keycell:decoder/broker", |l| broker::add_to_linker::<_, HasSelf<Instance>>(l, |i| i)),
    ("keycell:decoder/providers", |l| providers::add_to_linker::<_, HasSelf<Instance>>(l, |i| i)),
    ("keycell:decoder/tokens", |l| tokens::add_to_linker::<_, HasSelf<Instance>>(l, |i| i)),
];

/// The streams and their errors live in the instance's table.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Random numbers, or a refusal.
struct Entropy(bool);

/// The longest answer, in bytes; a guest asks for a few dozen.
const MAX_RANDOM: u64 = 4096;

impl HasData for Entropy {
    type Data<'a> = Entropy;
}

impl random::random::Host for Entropy {
    fn get_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        if !self.0 || length > MAX_RANDOM {
            bail!("random numbers are not granted to this step");
        }
        let mut bytes = vec![0; length as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = &mut bytes[filled..];
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        let bytes = self.get_random_bytes(8)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

impl random::insecure::Host for Entropy {
    fn get_insecure_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        random::random::Host::get_random_bytes(self, length)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        random::random::Host::get_random_u64(self)
    }
}

impl random::insecure_seed::Host for Entropy {
    /// Languages seed their hash maps with it at start: a constant tells nothing.
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((0, 0))
    }
}

/// Clocks that trap: no step needs the time, and a clock measures what others do.
///
/// A command gets one, because the runtimes of many languages look at it when they start. It is
/// that instance's own and tells nothing: it begins at 0 and moves by a microsecond when it is
/// looked at, and by as much as is slept, which takes no time.
struct Clock<'a> {
    now: &'a mut Option<u64>,
    table: &'a mut ResourceTable,
}

/// Nanoseconds by which a clock moves when it is looked at.
pub const TICK: u64 = 1000;

impl HasData for Clock<'static> {
    type Data<'a> = Clock<'a>;
}

impl Instance {
    fn clock(&mut self) -> Clock<'_> {
        Clock { now: &mut self.clock, table: &mut self.table }
    }

    /// Moves the instance's clock by so many nanoseconds: what it shows then.
    ///
    /// # Errors
    /// An instance without one.
    pub fn tick(&mut self, nanoseconds: u64) -> Result<u64> {
        self.clock().tick(nanoseconds)
    }

    /// Random bytes, at most 4096.
    ///
    /// # Errors
    /// An instance that is granted none, and more than that.
    pub fn random(&self, length: u64) -> Result<Vec<u8>> {
        random::random::Host::get_random_bytes(&mut Entropy(self.entropy), length)
    }
}

impl Clock<'_> {
    fn tick(&mut self, nanoseconds: u64) -> Result<u64> {
        let Some(now) = self.now else { bail!("clocks are not granted") };
        *now = now.saturating_add(nanoseconds);
        Ok(*now)
    }
}

impl clocks::monotonic_clock::Host for Clock<'_> {
    fn now(&mut self) -> Result<u64> {
        self.tick(TICK)
    }

    fn resolution(&mut self) -> Result<u64> {
        self.tick(0).map(|_| TICK)
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let now = self.tick(0)?;
        self.subscribe_duration(when.saturating_sub(now))
    }

    fn subscribe_duration(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        self.tick(duration)?;
        let slept = self.table.push(Slept)?;
        subscribe(self.table, slept)
    }
}

impl clocks::wall_clock::Host for Clock<'_> {
    fn now(&mut self) -> Result<clocks::wall_clock::Datetime> {
        let now = self.tick(TICK)?;
        let (seconds, nanoseconds) = (now / 1_000_000_000, (now % 1_000_000_000) as u32);
        Ok(clocks::wall_clock::Datetime { seconds, nanoseconds })
    }

    fn resolution(&mut self) -> Result<clocks::wall_clock::Datetime> {
        self.tick(0)?;
        Ok(clocks::wall_clock::Datetime { seconds: 0, nanoseconds: TICK as u32 })
    }
}

/// A sleep that is over.
struct Slept;

#[async_trait]
impl Pollable for Slept {
    async fn ready(&mut self) {}
}
