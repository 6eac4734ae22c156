//! The host's own messages: what went wrong, and what would mend it.

use std::io;

use ocicrypt::layer::LayerError;
use wasmtime::Trap;

use crate::contract::{Failure, Origin};
use crate::descriptors::PayloadFault;
use crate::ledger::Fault;
use crate::limits;
use crate::message::cleaned;
use crate::store::failures::{PASS_A_PAYLOAD, way_out};
use crate::store::{Digest, Manifests};
use crate::streams::GuestLog;

pub use crate::store::failures::{no_payload, several_keys_fit, untried_keys};
pub use crate::words::{plain, with_hint};

/// How a run ends without a layer.
pub enum Ending {
    /// For a reason that somebody should read.
    Failed(Failure),
    /// The same, and these manifests are the cause: those of one layer key stand together.
    OfManifests(Box<Failure>, Vec<Vec<Digest>>),
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

impl From<LayerError> for Ending {
    fn from(error: LayerError) -> Self {
        Fault::Layer(error).into()
    }
}

/// The payload for a guest that is a command, which is given nothing else.
///
/// # Errors
/// There is none, or the layer was to be verified by the host, which never learns its key.
pub fn for_a_command(origin: Origin, verify_first: bool) -> Result<Vec<u8>, Failure> {
    match origin {
        Origin::Payload(_) if verify_first => Err(with_hint(
            "`--verify-first` cannot be had with a guest that is a command",
            "such a guest does the cipher by itself, and the host never learns the key: choose a \
             decoder component, or go without the flag",
        )),
        Origin::Payload(payload) => Ok(payload),
        Origin::Stored(_) => Err(with_hint(
            "containerd passed no payload on descriptor 3, and a guest that is a command needs one",
            PASS_A_PAYLOAD.trim_start_matches("or "),
        )),
    }
}

/// Standard input was read ahead, to recognise the layer.
pub fn unreadable_layer(error: io::Error) -> Ending {
    Fault::Layer(error.into()).into()
}

/// A failure of `unwrap`, with the digests of the manifests that it is about.
pub fn of_manifests(mut failure: Failure, manifests: &Manifests) -> Ending {
    let places = std::mem::take(&mut failure.manifests);
    match manifests.at(&places) {
        none if none.is_empty() => Ending::Failed(failure),
        digests => {
            failure.hints.extend(way_out());
            Ending::OfManifests(Box::new(failure), vec![digests])
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
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "the disk is full, and the layer is not the cause: free space where standard \
                     output leads to, then decrypt it again"
                }
                io::ErrorKind::FileTooLarge => FILE_SIZE_LIMIT,
                _ => {
                    "standard output is the pipe that containerd unpacks from; by hand, look at \
                     the file that it leads to"
                }
            },
        ),
        Fault::Layer(LayerError::Read(error)) => with_hint(
            format!("cannot read the encrypted layer: {}", plain(&error)),
            "standard input is the pipe that containerd writes the layer to; by hand, `<FILE`",
        ),
        Fault::Layer(error @ LayerError::HmacMismatch) => with_hint(
            format!(
                "{error}: it was altered on its way, or its key is a wrong one; nothing complete was written"
            ),
            "remove the image and pull it again; if that fails too, the layer in the registry is \
             not the one that was encrypted, or its wrapped key is for other keys (that shows only now \
             where it is `pkcs7` in CBC, which is not authenticated)",
        ),
        Fault::Layer(LayerError::CutOff { found, length }) => with_hint(
            format!(
                "the encrypted layer ended after {}: whoever sends it stopped, nothing complete \
                 was written",
                part(found, length)
            ),
            "containerd's log has why it stopped, such as a pull that was cancelled, a connection \
             that broke or a disk that cannot be read: mend that and pull the image again",
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

/// How much came of how much, in a unit in which the two differ.
fn part(found: u64, length: u64) -> String {
    const MB: u64 = 1_000_000;
    let tenths = |bytes: u64| format!("{}.{}", bytes / MB, bytes % MB / (MB / 10));
    if length >= MB && length - found >= MB / 10 {
        format!("{} of {} MB", tenths(found), tenths(length))
    } else {
        format!("{found} of {length} bytes")
    }
}

/// The hint where a file would become longer than the caller's limit.
pub const FILE_SIZE_LIMIT: &str = "`LimitFSIZE` of the service that starts the decoder, containerd's, \
    is the longest file that it may write: raise it, or remove it";

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
    if is_out_of_memory(error) {
        return with_hint(
            format!("out of memory in the step `{step}`"),
            "`MemoryMax`, `LimitAS` and `LimitDATA` of containerd's service, or the node itself, leave \
             the decoder too little",
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

/// Whether the system refused memory.
fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let of_system = |error: &io::Error| error.kind() == io::ErrorKind::OutOfMemory;
    let cause = error.root_cause();
    cause.downcast_ref().is_some_and(of_system)
        || cause.downcast_ref() == Some(&rustix::io::Errno::NOMEM)
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
