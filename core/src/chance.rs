//! Random numbers and clocks, as far as an instance is granted them.

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime::{Result, bail};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::{clocks, random};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::context::Instance;

/// Random numbers, or a refusal.
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
    /// Languages seed their hash maps with it at start: a constant tells nothing.
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((0, 0))
    }
}

/// Clocks that trap: no step needs the time, and a clock measures what others do.
///
/// A command gets one, because the runtimes of many languages look at it when they start. It is
/// that instance's own and tells nothing: it begins at 0 and moves by a microsecond when it is
/// looked at, and by the time that is slept, which takes no real time.
pub(crate) struct Clock<'a> {
    now: &'a mut Option<u64>,
    table: &'a mut ResourceTable,
}

/// Nanoseconds by which a clock moves when it is looked at.
pub const TICK: u64 = 1000;

impl HasData for Clock<'static> {
    type Data<'a> = Clock<'a>;
}

impl Instance {
    pub(crate) fn clock(&mut self) -> Clock<'_> {
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
