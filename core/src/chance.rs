//! Random numbers and clocks, for instances that are granted them.

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime::{Result, bail};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::{clocks, random};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::context::Instance;

/// Random numbers, if they are granted.
pub(crate) struct Entropy(pub(crate) bool);

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
    /// Many languages seed their hash maps with this value when they start. A constant reveals nothing.
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((0, 0))
    }
}

/// Clocks that trap. No step needs the time, and with a clock a guest could measure what others do.
///
/// A command gets a clock, because the runtimes of many languages read it when they start. That clock
/// belongs to its instance alone and reveals nothing: it begins at 0 and advances by a microsecond when
/// it is read, and by the duration of each sleep, which takes no real time.
pub(crate) struct Clock<'a> {
    now: &'a mut Option<u64>,
    table: &'a mut ResourceTable,
}

/// Nanoseconds by which a clock advances when it is read.
pub const TICK: u64 = 1000;

impl HasData for Clock<'static> {
    type Data<'a> = Clock<'a>;
}

impl Instance {
    pub(crate) fn clock(&mut self) -> Clock<'_> {
        Clock { now: &mut self.clock, table: &mut self.table }
    }

    /// Advances the instance's clock by this many nanoseconds, and returns its new time.
    ///
    /// # Errors
    /// The instance has no clock.
    pub fn tick(&mut self, nanoseconds: u64) -> Result<u64> {
        self.clock().tick(nanoseconds)
    }

    /// Random bytes, at most 4096.
    ///
    /// # Errors
    /// The instance is granted none, or requests more.
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
