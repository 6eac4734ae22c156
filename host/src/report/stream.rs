//! Messages about what went wrong with a stream of the layer.

use std::io;

use keycell_core::Fault;
use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::{Diagnostic, os_error};
use ocicrypt::layer::LayerError;

use super::failure::Ending;

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::ReaderGone,
            fault => diagnostic(fault).into(),
        }
    }
}

impl From<LayerError> for Ending {
    fn from(error: LayerError) -> Self {
        Fault::Layer(error).into()
    }
}

fn diagnostic(fault: Fault) -> Diagnostic {
    let (message, hint) = match fault {
        Fault::Output(error) => {
            (format!("cannot write the plain layer: {}", os_error(&error)), of_output(&error))
        }
        Fault::Layer(LayerError::Read(error)) => (
            format!("cannot read the encrypted layer: {}", os_error(&error)),
            DecoderHint::StandardInput,
        ),
        Fault::Layer(error @ LayerError::HmacMismatch) => (
            format!(
                "{error}: it was altered on its way, or its key is a wrong one; nothing complete \
                 was written"
            ),
            DecoderHint::NotGenuine,
        ),
        Fault::Layer(LayerError::CutOff { found, length }) => (
            format!(
                "the encrypted layer ended after {}: whoever sends it stopped, nothing complete \
                 was written",
                part(found, length)
            ),
            DecoderHint::CutOff,
        ),
        Fault::Layer(error @ LayerError::TooLong { .. }) => {
            (format!("{error}: nothing complete was written"), DecoderHint::PullAgain)
        }
        Fault::Layer(error @ LayerError::DigestMismatch) => {
            (error.to_string(), DecoderHint::SealedDigest)
        }
        fault @ (Fault::Layer(_) | Fault::Altered | Fault::TooMuch | Fault::Hoarding) => {
            (format!("the guest failed in its step `decrypt`: {fault}"), DecoderHint::GuestBroken)
        }
    };
    Diagnostic::new(message, hint)
}

fn of_output(error: &io::Error) -> DecoderHint {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DecoderHint::DiskFull,
        io::ErrorKind::FileTooLarge => DecoderHint::FileSizeLimit,
        _ => DecoderHint::StandardOutput,
    }
}

/// How much of the layer arrived, in a unit in which both numbers differ.
fn part(found: u64, length: u64) -> String {
    const MB: u64 = 1_000_000;
    let tenths = |bytes: u64| format!("{}.{}", bytes / MB, bytes % MB / (MB / 10));
    if length >= MB && length - found >= MB / 10 {
        format!("{} of {} MB", tenths(found), tenths(length))
    } else {
        format!("{found} of {length} bytes")
    }
}
