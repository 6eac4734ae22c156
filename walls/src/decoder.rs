//! The walls around `ctd-decoder`, in two phases.

use std::path::Path;

use rustix::thread::CapabilitySet;

use crate::error::{Error, failed};
use crate::files::{Confined, Reach, confine};
use crate::rights::{User, become_user, keep, no_new_privileges};
use crate::seccomp::Filter;
use crate::wall::{Extent, Wall};
use crate::{memory, sigsys};

/// The names of the walls.
pub const NO_NEW_PRIVILEGES: &str = "no new privileges";
/// As above.
pub const NO_DUMP: &str = "memory not dumpable";
/// As above.
pub const LIMITS: &str = "resource limits";
/// As above.
pub const NO_SWAP: &str = "no swap";
/// As above.
pub const CAPABILITIES: &str = "capabilities";
/// As above.
pub const FILES: &str = "Landlock";
/// As above.
pub const CALLS: &str = "seccomp";

/// What the decoder needs behind its walls.
#[derive(Default)]
pub struct Needs<'a> {
    /// The keys directory, if the guest reads it itself.
    pub keys: Option<&'a Path>,
    /// The process group of a running broker.
    pub broker: Option<i32>,
    /// The user to become.
    pub user: Option<&'a User>,
    /// The entry for the log when a system call is stopped.
    pub stopped_call: Option<sigsys::Entry<'a>>,
    /// A function that is called last when a system call is stopped; it must be async-signal-safe.
    pub before_exit: Option<fn()>,
    /// Whether standard output, standard error, the log or another output is a file.
    pub writes_files: bool,
}

/// The walls of the first phase, and what the second one needs.
pub struct Walls {
    walls: Vec<Wall>,
    /// Whether all writable pages are locked.
    locked: bool,
    layer: Result<Filter, Error>,
    writes_files: bool,
}

impl Walls {
    /// Puts up the walls of the first phase, before guest code runs. It lasts while keys are read and
    /// the broker is asked. [`Walls::missing`] returns the walls that this kernel does not provide.
    ///
    /// The order matters. Pages are locked while the process still has the right to lock them. The user
    /// changes before the Linux capabilities are dropped and before dumps are disabled, because that
    /// change may make the process dumpable again. The syscall filter comes last, because it forbids
    /// all of this.
    ///
    /// # Errors
    /// The process cannot become [`Needs::user`], with the reason.
    pub fn before_guest(mut needs: Needs<'_>) -> Result<Self, Error> {
        let mut walls = vec![Wall::required(NO_NEW_PRIVILEGES, no_new_privileges())];
        let limits = memory::limits();
        // Locking pages takes a twentieth of a decoder's start.
        let (no_swap, locked) = if memory::nothing_to_swap_to() {
            (Ok(Extent::NothingToSwapTo), false)
        } else {
            let no_swap = memory::no_swap();
            let locked = no_swap.is_ok();
            (no_swap, locked)
        };

        if let Some(user) = needs.user {
            become_user(user)?;
        }
        let mut capabilities = CapabilitySet::DAC_READ_SEARCH; // for keys that only their owner may read
        capabilities.set(CapabilitySet::IPC_LOCK, locked);
        // This is for ending a broker that still runs as the previous user of this process.
        capabilities.set(CapabilitySet::KILL, needs.broker.is_some() && needs.user.is_some());
        let capabilities = keep(capabilities);

        walls.push(Wall::required(NO_DUMP, memory::no_dump()));
        walls.push(Wall::required(LIMITS, limits));
        walls.push(Wall::optional(NO_SWAP, no_swap));
        walls.push(Wall::required(CAPABILITIES, capabilities));
        let reach = Reach {
            readable: needs.keys.into_iter().collect(),
            signals: needs.broker.is_some(),
            ..Reach::default()
        };
        let files = confine(&reach);
        let nothing_is_written = files.as_ref().is_ok_and(Confined::covers_truncation);
        walls.push(Wall::required(FILES, files.map(Extent::Landlock)));
        let calls = Filter::unwrapping(needs.broker, nothing_is_written).and_then(|filter| {
            let before_exit = needs.before_exit.unwrap_or(|| ());
            sigsys::install(needs.stopped_call.take(), before_exit).map_err(failed("sigaction"))?;
            filter.raise().map(|()| Extent::CallsOfUnwrapping)
        });
        // The filter is compiled now, because its memory is available now.
        let layer = Filter::decrypting();
        walls.push(Wall::required(CALLS, calls));
        Ok(Self { walls, locked, layer, writes_files: needs.writes_files })
    }

    /// Puts up the walls of the second phase, before the layer flows: no file, no socket, no program,
    /// no signal, no Linux capability, no further descriptor. A wall that was missing stays missing.
    pub fn before_layer(mut self) -> Self {
        if self.locked && !memory::no_swap_without_capability() {
            self.now(NO_SWAP, memory::allow_swap().and(Err(Error::Unlocked)));
        }
        self.now(FILES, confine(&Reach::default()).map(Extent::Landlock)); // this briefly opens a descriptor
        self.now(LIMITS, memory::tighter_limits(self.writes_files));
        self.now(CAPABILITIES, keep(CapabilitySet::empty()));
        // The second filter is useless without the first.
        if self.walls.iter().any(|it| it.name == CALLS && it.missing().is_none()) {
            let calls = match &self.layer {
                Ok(filter) => filter.raise(),
                Err(why) => Err(why.clone()),
            };
            self.now(CALLS, calls.map(|()| Extent::CallsOfDecrypting));
        }
        self
    }

    /// All walls.
    pub fn walls(&self) -> &[Wall] {
        &self.walls
    }

    /// The walls that are not up.
    pub fn missing(&self) -> impl Iterator<Item = &Wall> {
        self.walls.iter().filter(|wall| wall.missing().is_some())
    }

    fn now(&mut self, name: &str, state: Result<Extent, Error>) {
        if let Some(wall) = self.walls.iter_mut().find(|wall| wall.name == name) {
            wall.state = state.into();
        }
    }
}
