//! WASI 0.1, which core modules import: wasmtime's, but for random numbers, clocks and waiting.
//! Those are what components get, from the same place (wasmtime would wait for as long as the guest
//! says, where no deadline reaches it). As there, only regular files and directories are opened, and
//! no file has a time ([`crate::sandbox::files`]).
//!
//! Sockets are functions that fail, since there are no descriptors of that kind.

use wasmtime::{AsContextMut, Caller, Engine, Extern, Linker, Result, bail, format_err};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as wasi, WasiSnapshotPreview1};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wiggle::GuestMemory;

use keycell_core::Instance;
use keycell_core::chance::TICK;

const WASIP1: &str = "wasi_snapshot_preview1";

/// `errno`: what WASI 0.1 calls `success` and `inval`.
const SUCCESS: u32 = 0;
const INVALID: u32 = 28;

/// The same: `loop`, `nametoolong` and `perm`.
const LOOP: i32 = 32;
const TOO_LONG: i32 = 37;
const NOT_PERMITTED: i32 = 63;

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
    linker.func_wrap_async(
        WASIP1,
        "path_open",
        |mut caller: Caller<'_, Instance>, arguments: Open| {
            Box::new(async move { path_open(&mut caller, arguments).await })
        },
    )?;
    linker.func_wrap_async(
        WASIP1,
        "fd_filestat_get",
        |mut caller: Caller<'_, Instance>, arguments| {
            Box::new(async move {
                let (descriptor, to): (i32, i32) = arguments;
                let (mut memory, wasi) = Memory::with_wasi(&mut caller)?;
                let answer =
                    wasi::fd_filestat_get(wasi, &mut memory.shown(), descriptor, to).await?;
                without_times(&mut memory, answer, to)
            })
        },
    )?;
    linker.func_wrap_async(
        WASIP1,
        "path_filestat_get",
        |mut caller: Caller<'_, Instance>, arguments| {
            Box::new(async move {
                let (mut memory, wasi) = Memory::with_wasi(&mut caller)?;
                let (directory, links, path, length, to): (i32, i32, i32, i32, i32) = arguments;
                let shown = &mut memory.shown();
                let answer =
                    wasi::path_filestat_get(wasi, shown, directory, links, path, length, to)
                        .await?;
                without_times(&mut memory, answer, to)
            })
        },
    )?;
    Ok(linker)
}

/// A `filestat` of WASI 0.1: 64 bytes. Its type is the byte at 16, its times are the last 24.
const FILESTAT: usize = 64;
const FILETYPE: usize = 16;
const TIMES: usize = 40;

/// The longest path that Linux takes, in bytes.
const MAX_PATH: u32 = 4096;

/// The types of WASI 0.1 that may be opened.
const DIRECTORY: u8 = 3;
const REGULAR_FILE: u8 = 4;
const SYMBOLIC_LINK: u8 = 7;

/// Takes the times out of the `filestat` at `to`, if there is one.
fn without_times(memory: &mut Memory<'_>, answer: i32, to: i32) -> Result<i32> {
    if answer == SUCCESS.cast_signed() {
        memory.at(to.cast_unsigned(), FILESTAT)?[TIMES..].fill(0);
    }
    Ok(answer)
}

/// What the guest passes: directory, how links are followed, path and its length, how it is opened,
/// two sets of rights, flags, and where the descriptor goes.
type Open = (i32, i32, i32, i32, i32, i64, i64, i32, i32);

/// wasmtime opens whatever is there, and waits for it. So what is there is looked at before. Whoever
/// exchanges it for a pipe in that moment makes the guest wait until [`crate::sandbox::deadline`] ends it.
async fn path_open(caller: &mut Caller<'_, Instance>, arguments: Open) -> Result<i32> {
    let (directory, links, path, length, how, rights, inherited, flags, to) = arguments;
    let (mut memory, wasi) = Memory::with_wasi(caller)?;
    if length.cast_unsigned() > MAX_PATH {
        return Ok(TOO_LONG);
    }
    // A memory of its own for the answer, with the path behind it: the guest's own stays as it is.
    let name = memory.at(path.cast_unsigned(), length.cast_unsigned() as usize)?;
    let mut scratch = [&[0; FILESTAT], &*name].concat();
    let looked = &mut GuestMemory::Unshared(&mut scratch);
    let at = FILESTAT as i32;
    let found = wasi::path_filestat_get(wasi, looked, directory, links, at, length, 0).await?;
    if found != SUCCESS.cast_signed() {
        return Ok(found);
    }
    match scratch[FILETYPE] {
        DIRECTORY | REGULAR_FILE => {}
        SYMBOLIC_LINK => return Ok(LOOP),
        _ => return Ok(NOT_PERMITTED),
    }
    let shown = &mut memory.shown();
    wasi::path_open(wasi, shown, directory, links, path, length, how, rights, inherited, flags, to)
        .await
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

    /// With the state of wasmtime's functions, as those link themselves.
    fn with_wasi(caller: &'a mut Caller<'_, Instance>) -> Result<(Self, &'a mut WasiP1Ctx)> {
        let fuel = caller.as_context_mut().hostcall_fuel();
        let (memory, instance) = Self::of(caller)?;
        instance.wasi.set_hostcall_fuel(fuel);
        Ok((memory, &mut instance.wasi))
    }

    /// For wasmtime's functions.
    fn shown(&mut self) -> GuestMemory<'_> {
        GuestMemory::Unshared(self.0)
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
