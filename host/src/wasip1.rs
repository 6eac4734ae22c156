//! WASI 0.1, which core modules import: wasmtime's, but for random numbers, clocks and waiting.
//! Those are what components get, from the same place (wasmtime would wait for as long as the guest
//! says, where no deadline reaches it).
//!
//! Sockets are functions that fail, since there are no descriptors of that kind.

use wasmtime::{Caller, Engine, Extern, Linker, Result, bail, format_err};
use wasmtime_wasi::p1;

use crate::instance::{Instance, TICK};

const WASIP1: &str = "wasi_snapshot_preview1";

/// `errno`: what WASI 0.1 calls `success` and `inval`.
const SUCCESS: u32 = 0;
const INVALID: u32 = 28;

/// Everything that a core module can import.
///
/// # Errors
/// Where wasmtime does not accept a definition.
pub fn linker(engine: &Engine) -> Result<Linker<Instance>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |instance: &mut Instance| &mut instance.wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap(WASIP1, "random_get", random_get)?;
    linker.func_wrap(WASIP1, "clock_res_get", clock_res_get)?;
    linker.func_wrap(WASIP1, "clock_time_get", clock_time_get)?;
    linker.func_wrap(WASIP1, "poll_oneoff", poll_oneoff)?;
    Ok(linker)
}

fn random_get(mut caller: Caller<'_, Instance>, to: u32, length: u32) -> Result<u32> {
    let (mut memory, instance) = Memory::of(&mut caller)?;
    let bytes = instance.random(length.into())?;
    memory.at(to, bytes.len())?.copy_from_slice(&bytes);
    Ok(SUCCESS)
}

fn clock_res_get(mut caller: Caller<'_, Instance>, clock: u32, to: u32) -> Result<u32> {
    let (mut memory, _) = Memory::of(&mut caller)?;
    if !is_clock(clock) {
        return Ok(INVALID);
    }
    memory.put(to, TICK)?;
    Ok(SUCCESS)
}

fn clock_time_get(
    mut caller: Caller<'_, Instance>,
    clock: u32,
    _precision: u64,
    to: u32,
) -> Result<u32> {
    let (mut memory, instance) = Memory::of(&mut caller)?;
    if !is_clock(clock) {
        return Ok(INVALID);
    }
    memory.put(to, instance.tick(TICK)?)?;
    Ok(SUCCESS)
}

/// Real time and monotonic time. Of the CPU's time there is no clock in WASI 0.2 either.
fn is_clock(id: u32) -> bool {
    id < 2
}

/// Streams and files are ready at once, since reading and writing wait. Where there are only times
/// to wait for, the earliest has come: sleeping moves the clock, and takes no time.
fn poll_oneoff(
    mut caller: Caller<'_, Instance>,
    subscriptions: u32,
    events: u32,
    count: u32,
    to: u32,
) -> Result<u32> {
    let (mut memory, instance) = Memory::of(&mut caller)?;
    let now = instance.tick(0)?;
    let at = |index: u32| offset(subscriptions, index, Subscription::SIZE);
    let mut wait = u64::MAX;
    for index in 0..count {
        wait = wait.min(Subscription::read(&mut memory, at(index)?)?.left(now));
    }
    if count == 0 {
        return Ok(INVALID); // nothing would ever come
    }
    instance.tick(wait)?;
    let mut over = 0;
    for index in 0..count {
        let subscription = Subscription::read(&mut memory, at(index)?)?;
        if subscription.left(now) <= wait {
            let event = offset(events, over, EVENT)?;
            memory.at(event, EVENT as usize)?.copy_from_slice(&subscription.event());
            over += 1;
        }
    }
    memory.at(to, 4)?.copy_from_slice(&over.to_le_bytes());
    Ok(SUCCESS)
}

/// What is waited for. WASI 0.1 lays it out in 48 bytes: `userdata`, a tag, and what it means.
struct Subscription {
    userdata: u64,
    /// 0: a time; 1 and 2: a descriptor, to be read from or written to.
    tag: u8,
    /// Nanoseconds, and whether that is a time of day instead of a while.
    timeout: u64,
    is_absolute: bool,
}

/// What has come, in bytes.
const EVENT: u32 = 32;

impl Subscription {
    const SIZE: u32 = 48;

    fn read(memory: &mut Memory<'_>, from: u32) -> Result<Self> {
        let bytes = memory.at(from, Self::SIZE as usize)?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Self {
            userdata: number(0),
            tag: bytes[8],
            timeout: number(24),
            is_absolute: bytes[40] & 1 != 0,
        })
    }

    /// Nanoseconds until it comes.
    fn left(&self, now: u64) -> u64 {
        match (self.tag, self.is_absolute) {
            (0, true) => self.timeout.saturating_sub(now),
            (0, false) => self.timeout,
            _ => 0,
        }
    }

    /// That it has come, without an error. Of a descriptor: there is something, or the end.
    fn event(&self) -> [u8; EVENT as usize] {
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&self.userdata.to_le_bytes());
        event[10] = self.tag;
        event[16] = u8::from(self.tag != 0);
        event
    }
}

fn offset(start: u32, index: u32, size: u32) -> Result<u32> {
    let offset = index.checked_mul(size).and_then(|offset| start.checked_add(offset));
    offset.ok_or_else(outside)
}

/// The memory of a core module.
struct Memory<'a>(&'a mut [u8]);

impl<'a> Memory<'a> {
    fn of(caller: &'a mut Caller<'_, Instance>) -> Result<(Self, &'a mut Instance)> {
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            bail!("it exports no memory");
        };
        let (bytes, instance) = memory.data_and_store_mut(caller);
        Ok((Self(bytes), instance))
    }

    fn at(&mut self, from: u32, length: usize) -> Result<&mut [u8]> {
        let rest = self.0.get_mut(from as usize..);
        rest.and_then(|rest| rest.get_mut(..length)).ok_or_else(outside)
    }

    fn put(&mut self, to: u32, number: u64) -> Result<()> {
        self.at(to, 8)?.copy_from_slice(&number.to_le_bytes());
        Ok(())
    }
}

/// As wasmtime does, and other than most errors of WASI 0.1, this traps.
fn outside() -> wasmtime::Error {
    format_err!("it passed an address outside of its memory")
}
