//! WASI 0.1, which core modules import. wasmtime implements it, except for random numbers, clocks and
//! waiting. Those are the same as for components (wasmtime would wait for as long as the guest asks,
//! where no deadline reaches it). As for components, only regular files and directories are opened, and
//! no file has times ([`crate::sandbox::files`]).
//!
//! The functions for sockets fail, since there are no descriptors of that kind.

use wasmtime::{AsContextMut, Caller, Engine, Extern, Linker, Result, bail, format_err};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as wasi, WasiSnapshotPreview1};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wiggle::GuestMemory;

use keycell_core::Instance;
use keycell_core::chance::TICK;

const WASIP1: &str = "wasi_snapshot_preview1";

/// The values of `errno` that WASI 0.1 calls `success` and `inval`.
const SUCCESS: u32 = 0;
const INVALID: u32 = 28;

/// The values of `errno` that are called `loop`, `nametoolong` and `perm`.
const LOOP: i32 = 32;
const TOO_LONG: i32 = 37;
const NOT_PERMITTED: i32 = 63;

/// Everything that a core module can import.
///
/// # Errors
/// wasmtime does not accept a definition.
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

/// The size of a `filestat` of WASI 0.1 in bytes; its type is the byte at 16, and its times are the
/// last 24 bytes.
const FILESTAT: usize = 64;
const FILETYPE: usize = 16;
const TIMES: usize = 40;

/// The longest path that Linux takes, in bytes.
const MAX_PATH: u32 = 4096;

/// The file types of WASI 0.1 that this module distinguishes. Only the first two may be opened.
const DIRECTORY: u8 = 3;
const REGULAR_FILE: u8 = 4;
const SYMBOLIC_LINK: u8 = 7;

/// Clears the times in the `filestat` at `to`, if the call succeeded.
fn without_times(memory: &mut Memory<'_>, answer: i32, to: i32) -> Result<i32> {
    if answer == SUCCESS.cast_signed() {
        memory.at(to.cast_unsigned(), FILESTAT)?[TIMES..].fill(0);
    }
    Ok(answer)
}

/// The arguments of the guest: directory, how symbolic links are followed, path and its length, how the
/// file is opened, two sets of rights, flags, and the address for the descriptor.
type Open = (i32, i32, i32, i32, i32, i64, i64, i32, i32);

/// wasmtime opens any kind of file, and waits for it. So the kind is checked before. If someone
/// replaces the file with a pipe after the check, the guest waits until [`crate::sandbox::deadline`]
/// ends it.
async fn path_open(caller: &mut Caller<'_, Instance>, arguments: Open) -> Result<i32> {
    let (directory, links, path, length, how, rights, inherited, flags, to) = arguments;
    let (mut memory, wasi) = Memory::with_wasi(caller)?;
    if length.cast_unsigned() > MAX_PATH {
        return Ok(TOO_LONG);
    }
    // The answer gets separate memory, with the path after it, so that the guest's memory does not
    // change.
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

/// Whether the id is that of real time or of monotonic time. WASI 0.2 has no clock for CPU time either.
fn is_clock(id: u32) -> bool {
    id < 2
}

/// Streams and files are always ready, since reading and writing wait. If there are only times to wait
/// for, the earliest one counts as reached: sleeping advances the clock, and takes no time.
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
        return Ok(INVALID); // the guest would wait forever
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

/// What the guest waits for. WASI 0.1 stores it in 48 bytes: `userdata`, a tag, and its content.
struct Subscription {
    userdata: u64,
    /// 0: a time; 1 and 2: a descriptor that is to be read from or written to.
    tag: u8,
    /// The time in nanoseconds, and whether it is absolute instead of a duration.
    timeout: u64,
    is_absolute: bool,
}

/// The size of an event in bytes.
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

    /// Nanoseconds until the event.
    fn left(&self, now: u64) -> u64 {
        match (self.tag, self.is_absolute) {
            (0, true) => self.timeout.saturating_sub(now),
            (0, false) => self.timeout,
            _ => 0,
        }
    }

    /// The event, without an error. For a descriptor it says that there are bytes, or the end.
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

    /// Returns the memory and wasmtime's state, prepared in the same way as wasmtime's own functions do
    /// it.
    fn with_wasi(caller: &'a mut Caller<'_, Instance>) -> Result<(Self, &'a mut WasiP1Ctx)> {
        let fuel = caller.as_context_mut().hostcall_fuel();
        let (memory, instance) = Self::of(caller)?;
        instance.wasi.set_hostcall_fuel(fuel);
        Ok((memory, &mut instance.wasi))
    }

    /// The memory in the form that wasmtime's functions take.
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

/// The error for an address outside of the memory. As in wasmtime, and unlike most errors of WASI 0.1,
/// it traps.
fn outside() -> wasmtime::Error {
    format_err!("it passed an address outside of its memory")
}
