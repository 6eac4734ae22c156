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

/// A failure that has no way out worth a hint.
pub fn failed(message: &str) -> Failure {
    Failure { message: message.to_owned(), hints: Vec::new() }
}

fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure { message: message.into(), hints: vec![hint.into()] }
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
pub fn stream_failure(fault: Fault) -> Failure {
    match fault {
        // The reader has gone, and with it whoever would have read this.
        Fault::Sink(error) if error.kind() == io::ErrorKind::BrokenPipe => failed(""),
        Fault::Sink(error) => failed(&format!("cannot write the plain layer: {}", plain(&error))),
        Fault::Layer(LayerError::Read(error)) => {
            failed(&format!("cannot read the encrypted layer: {}", plain(&error)))
        }
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
        Fault::Layer(error) => failed(&error.to_string()),
        Fault::Altered => broken_guest("decrypt", "it wrote other bytes than the cipher gave out"),
        Fault::TooMuch => broken_guest("decrypt", "it wrote more bytes than it was given"),
        Fault::Hoarding => broken_guest("decrypt", "it read the layer without writing it"),
    }
}

/// A guest that did not answer: it trapped, took too long or too much.
pub fn guest_failure(step: &str, error: &wasmtime::Error, said: &GuestLog) -> Failure {
    let why = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => "it did not end in time".to_owned(),
        Some(trap) => format!("it trapped: {trap}"),
        // Not the chain of causes: it begins with addresses in the guest.
        None => error.root_cause().to_string(),
    };
    let said = said.text();
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
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

/// A host that cannot start: a wrong build, or a system without what it needs.
pub fn broken_host(error: wasmtime::Error) -> Failure {
    failed(&format!("cannot start the sandbox: {}", error.root_cause()))
}

/// The system's words without its number.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.to_lowercase()
}
