//! The host's own messages: what went wrong, and what would mend it.

use std::io;

use ocicrypt::layer::LayerError;
use wasmtime::Trap;

use crate::contract::Failure;
use crate::descriptors::PayloadFault;
use crate::ledger::Fault;
use crate::limits;
use crate::message::cleaned;
use crate::streams::GuestLog;

pub use crate::words::{plain, with_hint};

/// How a run ends without a layer.
pub enum Ending {
    /// For a reason that somebody should read.
    Failed(Failure),
    /// Nobody reads standard output any more, so nobody is there to be told. Go ctd-decoder dies
    /// of `SIGPIPE`, as silently.
    ReaderGone,
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sink(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::ReaderGone,
            fault => Self::Failed(stream_failure(fault)),
        }
    }
}

/// Descriptor 3 was no payload.
pub fn payload_failure(fault: PayloadFault) -> Failure {
    match fault {
        PayloadFault::TooLong => with_hint(
            format!("the payload on descriptor 3 is longer than {} MiB", limits::PAYLOAD >> 20),
            "containerd writes the image's annotations there; is another program's file open \
             as descriptor 3?",
        ),
        PayloadFault::Unreadable(error) => with_hint(
            format!("cannot read the payload on descriptor 3: {}", plain(&error)),
            "containerd passes a pipe there; is another program's file open as descriptor 3?",
        ),
    }
}

/// What the host saw go wrong with a stream.
fn stream_failure(fault: Fault) -> Failure {
    match fault {
        Fault::Sink(error) => with_hint(
            format!("cannot write the plain layer: {}", plain(&error)),
            "standard output is the pipe that containerd unpacks from; by hand, look at the file \
             that it leads to",
        ),
        Fault::Layer(LayerError::Read(error)) => with_hint(
            format!("cannot read the encrypted layer: {}", plain(&error)),
            "standard input is the pipe that containerd writes the layer to; by hand, `<FILE`",
        ),
        Fault::Layer(error @ LayerError::HmacMismatch) => with_hint(
            format!("{error}: it was cut off or altered on its way, nothing complete was written"),
            "remove the image and pull it again; if that fails too, the layer in the registry is \
             not the one that was encrypted",
        ),
        Fault::Layer(error @ LayerError::TooLong { .. }) => with_hint(
            format!("{error}: nothing complete was written"),
            "remove the image and pull it again",
        ),
        Fault::Layer(error @ LayerError::DigestMismatch) => with_hint(
            error.to_string(),
            "whoever encrypted this image sealed another layer's digest: have it encrypted again",
        ),
        Fault::Layer(error) => broken_guest("decrypt", &error.to_string()),
        Fault::Altered => broken_guest("decrypt", "it wrote other bytes than the cipher gave out"),
        Fault::TooMuch => broken_guest("decrypt", "it wrote more bytes than it was given"),
        Fault::Hoarding => broken_guest("decrypt", "it read the layer without writing it"),
    }
}

/// A guest that did not answer: it trapped, took too long or too much.
pub fn guest_failure(
    step: &str,
    error: &wasmtime::Error,
    said: &GuestLog,
    exhausted: bool,
) -> Failure {
    if exhausted {
        return with_hint(
            format!("the step `{step}` needs more than {} MiB of memory", limits::MEMORY >> 20),
            "no encryption tool makes annotations that need so much: do you trust the source of \
             this image? otherwise have it encrypted again, for fewer recipients",
        );
    }
    let why = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => "it did not end in time".to_owned(),
        Some(trap) => format!("it trapped: {trap}"),
        // Not the chain of causes: it begins with addresses in the guest.
        None => error.root_cause().to_string(),
    };
    let said = said.text();
    // Rust ends a panic with a note on how to get a backtrace, which here is none.
    let last = said.lines().rev().find(|line| !line.is_empty() && !line.starts_with("note: "));
    let last = last.map(|line| format!("; it last said: {}", cleaned(line)));
    broken_guest(step, &format!("{why}{}", last.unwrap_or_default()))
}

/// A guest that does not keep the contract.
pub fn broken_guest(step: &str, why: &str) -> Failure {
    with_hint(
        format!("the guest failed in its step `{step}`: {why}"),
        "the layer was not released; with the embedded guest this is a bug, please report it",
    )
}

/// A guest for another host: it asks for more than any step is granted, or lacks a step.
pub fn foreign_guest(error: &wasmtime::Error) -> Failure {
    let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
    with_hint(
        format!("this guest cannot be run: {}", chain.join(": ")),
        "`wit/decoder.wit` says what a guest may import and must export: no sockets, for instance",
    )
}

/// A host that cannot start: a wrong build, or a system without what it needs.
pub fn broken_host(error: wasmtime::Error) -> Failure {
    with_hint(
        format!("cannot start the sandbox: {}", error.root_cause()),
        "do limits of containerd's service (`LimitAS`, `MemoryMax`, `LimitNOFILE`) leave it too \
         little? if not, this is a bug, please report it",
    )
}

/// Standard output was closed at the start: exit code 0 would be a lie.
pub fn no_stdout() -> Failure {
    with_hint(
        "standard output is closed, so there is nowhere to write the layer to",
        "containerd opens a pipe there for its stream processors; by hand, `>FILE`",
    )
}
