//! One wall, and whether it is up.

use std::fmt;

use rustix::thread::CapabilitySet;

use crate::error::Error;
use crate::files::Confined;

/// One wall, and whether it is up (or, from [`probe()`](crate::probe()), whether this kernel provides
/// it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// Its name in messages: in lower case, so that it can be part of a sentence.
    pub name: &'static str,
    /// Up, or missing.
    pub state: State,
    /// Whether `--require-sandbox` requires it.
    pub required: bool,
}

/// Whether a wall is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is up.
    Up(Extent),
    /// It is missing, with the reason.
    Missing(Error),
}

/// The effect of a wall that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// From [`probe()`](crate::probe()): this kernel provides it.
    Available,
    /// No program that the process runs gains privileges.
    NoNewPrivileges,
    /// Memory cannot be read by other users, and a crash leaves no dump.
    NotDumpable,
    /// The limits while keys are unwrapped.
    Limits {
        /// Memory that the process may write to, in MiB.
        mebibytes: u64,
        /// Descriptors that may be open.
        descriptors: u64,
    },
    /// The limits while the layer flows.
    LayerLimits {
        /// Whether files may be written to.
        writes_files: bool,
    },
    /// The machine has no swap.
    NothingToSwapTo,
    /// Pages are locked.
    PagesLocked,
    /// The process has only these Linux capabilities.
    Capabilities(CapabilitySet),
    /// How far Landlock confines the process.
    Landlock(Confined),
    /// The syscall filter while keys are unwrapped.
    CallsOfUnwrapping,
    /// The syscall filter while the layer flows.
    CallsOfDecrypting,
}

impl Wall {
    /// A wall without which the sandbox is not complete.
    pub(crate) fn required(name: &'static str, state: Result<Extent, Error>) -> Self {
        Self { name, state: state.into(), required: true }
    }

    /// A wall that depends on limits of the service: `--require-sandbox` does not require it.
    pub(crate) fn optional(name: &'static str, state: Result<Extent, Error>) -> Self {
        Self { name, state: state.into(), required: false }
    }

    /// Why it is missing. `None` if it is up.
    pub fn missing(&self) -> Option<&Error> {
        match &self.state {
            State::Missing(why) => Some(why),
            State::Up(_) => None,
        }
    }
}

impl From<Result<Extent, Error>> for State {
    fn from(result: Result<Extent, Error>) -> Self {
        result.map_or_else(Self::Missing, Self::Up)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Available => "",
            Self::NoNewPrivileges => "no program that is run gives more",
            Self::NotDumpable => "nobody but root reads it, and a crash leaves nothing",
            Self::Limits { mebibytes, descriptors } => {
                return write!(f, "{mebibytes} MiB of memory, {descriptors} descriptors");
            }
            Self::LayerLimits { writes_files: true } => "no further descriptor",
            Self::LayerLimits { writes_files: false } => {
                "no further descriptor, no byte into a file"
            }
            Self::NothingToSwapTo => "this machine has nothing to swap to",
            Self::PagesLocked => "all pages that it writes to stay in memory",
            Self::Capabilities(none) if none.is_empty() => "none",
            Self::Capabilities(some) => {
                let names: Vec<_> =
                    some.iter_names().map(|(name, _)| format!("`CAP_{name}`")).collect();
                return f.write_str(&names.join(", "));
            }
            Self::Landlock(confined) => return confined.fmt(f),
            Self::CallsOfUnwrapping => "those that unwrapping a key makes",
            Self::CallsOfDecrypting => "those that a stream makes",
        })
    }
}
