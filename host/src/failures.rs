//! The host's own messages: what went wrong, and what would mend it.

use std::io;

use ocicrypt::layer::LayerError;
use wasmtime::Trap;

use crate::contract::{Failure, Origin};
use crate::descriptors::PayloadFault;
use crate::ledger::Fault;
use crate::limits;
use crate::message::cleaned;
use crate::store::{self, StoreFault};
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

impl From<LayerError> for Ending {
    fn from(error: LayerError) -> Self {
        Fault::Layer(error).into()
    }
}

/// There is no payload, and containerd's content store was of no use.
///
/// Go ctd-decoder says `type with url : not found` or `bad file descriptor`.
pub fn no_payload(fault: StoreFault) -> Failure {
    let (why, hint) = match fault {
        StoreFault::Off => (
            "and its content store is not to be looked at".to_owned(),
            "remove `--content-store off`: the decoder then finds the layer's manifest by itself"
                .to_owned(),
        ),
        StoreFault::Absent => (
            "and there is no content store at containerd's usual places".to_owned(),
            format!(
                "`--content-store DIR` names containerd's root directory, which `containerd \
                 config dump` shows as `root`; looked at {}",
                store::usual_roots()
            ),
        ),
        StoreFault::Other(path) => (
            format!("and `{}` is no content store", path.display()),
            "`--content-store` is containerd's root directory, which `containerd config dump` \
             shows as `root`: the blobs lie in `io.containerd.content.v1.content/blobs/sha256` \
             below it"
                .to_owned(),
        ),
        StoreFault::Closed(path, error) => (
            format!("and its content store `{}` cannot be read: {}", path.display(), plain(&error)),
            "the decoder has to run as the user that containerd runs as, usually root".to_owned(),
        ),
        StoreFault::Bare { shown, blobs, stopped } => {
            let stopped = stopped.map(|limit| format!(" (stopped after {limit})"));
            (
                format!(
                    "and none of {blobs} blobs in its content store `{shown}` is the manifest of \
                     an encrypted image{}",
                    stopped.unwrap_or_default()
                ),
                "is this the store of the containerd that calls? `--content-store DIR` names the \
                 root directory of another; if the manifest is gone, pull the image again"
                    .to_owned(),
            )
        }
    };
    Failure {
        message: format!("containerd passed no payload on descriptor 3, {why}"),
        hints: vec![hint, PASS_A_PAYLOAD.to_owned()],
        layer_digest: None,
    }
}

/// The other way, which needs no content store.
const PASS_A_PAYLOAD: &str = "or have containerd pass one: `key_model = \"node\"` in \
    `[plugins.\"io.containerd.cri.v1.images\".image_decryption]`, and on 2.x \
    `use_local_image_pull = true` in `[plugins.\"io.containerd.cri.v1.images\"]` (on 1.x: \
    `[plugins.\"io.containerd.grpc.v1.cri\".image_decryption]` alone); `ctr images pull` and \
    `ctr images import` never pass one";

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

/// Several keys open wrapped keys of layers that begin alike.
pub fn ambiguous(keys: usize) -> Failure {
    with_hint(
        format!(
            "containerd passed no payload, and {keys} different keys in the manifests of its \
             content store might be the layer's: nothing was written"
        ),
        "`--verify-first` finds the right one, since it reads the whole layer before it writes; \
         or remove the image that was made to look like this one",
    )
}

/// Standard input was read ahead, to recognise the layer.
pub fn unreadable_layer(error: io::Error) -> Failure {
    stream_failure(Fault::Layer(error.into()))
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
