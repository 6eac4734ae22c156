//! The ways in which a guest fails without an answer: it trapped, took too long, needed too many
//! resources, or was not made for this host.

use std::io;

use keycell_core::guest_log::GuestLog;
use keycell_core::limits;
use keycell_core::sanitize::sanitize;
use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::os_error;
use wasmtime::Trap;

use crate::report::failure::ends_a_run;
use crate::unix::caller_limits;

use super::native_code::NotExecutable;

/// Why a guest returned no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum GuestFailure {
    /// It needs more memory than it is granted.
    #[error("the step `{step}` needs more than {} MiB of memory", limits::MEMORY >> 20)]
    Memory {
        /// The step.
        step: &'static str,
    },
    /// The system refused to provide memory.
    #[error("out of memory in the step `{step}`")]
    OutOfMemory {
        /// The step.
        step: &'static str,
    },
    /// It did not end in time.
    #[error("the guest failed in its step `{step}`: it did not end in time{last}")]
    Late {
        /// The step.
        step: &'static str,
        /// The last line that it wrote.
        last: LastWords,
    },
    /// It trapped.
    #[error("the guest failed in its step `{step}`: it trapped: {trap}{last}")]
    Trapped {
        /// The step.
        step: &'static str,
        /// How.
        trap: Trap,
        /// The last line that it wrote.
        last: LastWords,
    },
    /// The engine or the host stopped it for another reason.
    #[error("the guest failed in its step `{step}`: {cause}{last}")]
    Stopped {
        /// The step.
        step: &'static str,
        /// The engine's reason.
        cause: wasmtime::Error,
        /// The last line that it wrote.
        last: LastWords,
    },
    /// It violates the contract.
    #[error("the guest failed in its step `{step}`: {why}")]
    Broken {
        /// The step.
        step: &'static str,
        /// How it violated the contract.
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is not for this host: it imports more than any step is granted, or lacks a step.
    #[error("this guest cannot be run: {}", chain(.0))]
    Foreign(wasmtime::Error),
    /// Its code cannot be executed.
    #[error(transparent)]
    NotExecutable(NotExecutable),
    /// The host cannot start: its build is wrong, or the system lacks what it needs.
    #[error("cannot start the sandbox: {}", cause(.0))]
    Host(wasmtime::Error),
}

impl GuestFailure {
    /// Says why `error` ended the guest in `step`. `exhausted`: the guest was refused memory.
    pub fn new(
        step: &'static str,
        error: wasmtime::Error,
        stderr: &GuestLog,
        exhausted: bool,
    ) -> Self {
        if exhausted {
            return Self::Memory { step };
        }
        if is_out_of_memory(&error) {
            return Self::OutOfMemory { step };
        }
        let last = LastWords::of(stderr);
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Late { step, last },
            Some(trap) => Self::Trapped { step, trap: *trap, last },
            None => Self::Stopped { step, cause: root(error), last },
        }
    }

    /// The failure of a guest that violates the contract.
    pub fn broken(step: &'static str, why: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Broken { step, why: Box::new(why) }
    }

    fn hint(&self) -> DecoderHint {
        match self {
            Self::Memory { .. } => DecoderHint::GuestMemory,
            Self::OutOfMemory { .. } => too_little_memory(),
            Self::Late { .. } | Self::Trapped { .. } | Self::Stopped { .. } => {
                DecoderHint::GuestBroken
            }
            Self::Broken { .. } => DecoderHint::GuestBroken,
            Self::Foreign(_) => DecoderHint::GuestForeign,
            Self::NotExecutable(_) => DecoderHint::ExecutableMemory,
            Self::Host(error) if is_out_of_memory(error) => too_little_memory(),
            Self::Host(error) if is_out_of_descriptors(error) => DecoderHint::DescriptorLimit,
            Self::Host(_) => DecoderHint::HostLimits,
        }
    }
}

ends_a_run!(GuestFailure);

/// The last line that a guest wrote to its standard error.
#[derive(Debug)]
pub struct LastWords(Option<String>);

impl LastWords {
    fn of(stderr: &GuestLog) -> Self {
        let text = stderr.text();
        // Rust ends a panic with a note on how to get a backtrace, which does not help here.
        let mut lines = text.lines().rev();
        let last = lines.find(|line| !line.is_empty() && !line.starts_with("note: "));
        Self(last.map(sanitize))
    }
}

impl std::fmt::Display for LastWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(line) => write!(f, "; it last said: {line}"),
            None => Ok(()),
        }
    }
}

/// Returns only the root cause: the chain begins with addresses in the guest.
fn root(error: wasmtime::Error) -> wasmtime::Error {
    wasmtime::Error::msg(error.root_cause().to_string())
}

fn chain(error: &wasmtime::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The root cause, without the number of a system's error.
fn cause(error: &wasmtime::Error) -> String {
    let cause = error.root_cause();
    cause.downcast_ref().map_or_else(|| cause.to_string(), os_error)
}

/// The limit that is the likeliest cause of a lack of memory.
fn too_little_memory() -> DecoderHint {
    match caller_limits::too_few_addresses() {
        Some(limit) => DecoderHint::AddressLimit { mebibytes: limit >> 20 },
        None => DecoderHint::MemoryLimit,
    }
}

/// Whether the limit on open files was reached.
fn is_out_of_descriptors(error: &wasmtime::Error) -> bool {
    let of_system = |error: &io::Error| error.raw_os_error() == Some(libc::EMFILE);
    error.root_cause().downcast_ref().is_some_and(of_system)
}

/// Whether the system refused to provide memory.
fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let of_system = |error: &io::Error| error.kind() == io::ErrorKind::OutOfMemory;
    let cause = error.root_cause();
    cause.downcast_ref().is_some_and(of_system)
        || cause.downcast_ref() == Some(&rustix::io::Errno::NOMEM)
}
