//! The operating system's walls around a process that holds keys: what a bug in the WebAssembly
//! sandbox, or in a PKCS#11 module, still meets.
//!
//! | module | wall |
//! |---|---|
//! | [`decoder`] | all of those around `ctd-decoder`, phase by phase |
//! | [`module`] | those around a PKCS#11 module |
//! | [`calls`], [`seccomp`] | which system calls there are, and what becomes of the others |
//! | [`files`] | which files can be reached (Landlock) |
//! | [`rights`] | capabilities, another user, no new privileges |
//! | [`memory`] | no dumps, no swap, limits |
//! | [`relro`] | what the program's start has relocated is not written to |
//! | [`zeroizing_alloc`] | freed memory is wiped |
//! | [`probe()`] | which of them this kernel gives |
//!
//! Everything here takes something away from the calling process, for good. All of it is for
//! Linux, on x86-64 and aarch64, and for the calling thread: threads that were started before
//! keep their rights, so walls come first and threads after.

pub mod calls;
pub mod decoder;
pub mod files;
pub mod memory;
pub mod module;
pub mod relro;
pub mod rights;
pub mod seccomp;
pub mod sigsys;
pub mod zeroizing_alloc;

mod bpf;
mod probe;

pub use probe::probe;

/// One wall, and whether it is up (or, from [`probe()`], whether this kernel gives it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// What it is called in messages: lower case, fit for a sentence.
    pub name: &'static str,
    /// Up, or missing.
    pub state: State,
    /// Whether `--require-sandbox` insists on it.
    pub required: bool,
}

/// Whether a wall is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is; how far it reaches, in words.
    Up(String),
    /// It is not; why, in words, with the fix where there is one.
    Missing(String),
}

impl Wall {
    /// A wall without which the sandbox is not complete.
    pub(crate) fn required(name: &'static str, state: Result<String, String>) -> Self {
        Self { name, state: state.into(), required: true }
    }

    /// A wall that depends on limits of the service, and is not insisted on.
    pub(crate) fn wanted(name: &'static str, state: Result<String, String>) -> Self {
        Self { name, state: state.into(), required: false }
    }

    /// Why it is missing. `None` where it is up.
    pub fn missing(&self) -> Option<&str> {
        match &self.state {
            State::Missing(why) => Some(why),
            State::Up(_) => None,
        }
    }
}

impl From<Result<String, String>> for State {
    fn from(result: Result<String, String>) -> Self {
        result.map_or_else(Self::Missing, Self::Up)
    }
}

/// The system's words without its number, in the middle of a sentence.
pub(crate) fn plain(error: impl Into<std::io::Error>) -> String {
    let text = error.into().to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
