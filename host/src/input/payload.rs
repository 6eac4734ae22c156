//! The payload: what containerd writes to descriptor 3.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use keycell_core::limits;
use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::os_error;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::report::failure::ends_a_run;

/// The initial capacity, in bytes. Most payloads fit, which saves calls of read(2).
const TYPICAL: usize = 8 * 1024;

/// Why there is no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It is longer than the limit.
    #[error("the payload on descriptor 3 is longer than {} MiB", limits::PAYLOAD >> 20)]
    TooLong,
    /// Descriptor 3 cannot be read.
    #[error("cannot read the payload on descriptor 3: {}", os_error(.0))]
    Unreadable(io::Error),
}

impl PayloadError {
    fn hint(&self) -> DecoderHint {
        match self {
            Self::TooLong => DecoderHint::PayloadTooLong,
            Self::Unreadable(_) => DecoderHint::PayloadUnreadable,
        }
    }
}

ends_a_run!(PayloadError);

/// Reads the payload to its end, and closes its descriptor. Without a descriptor, the payload is empty.
///
/// # Errors
/// [`PayloadError`].
pub fn read(inherited: Option<OwnedFd>) -> Result<Vec<u8>, PayloadError> {
    let Some(inherited) = inherited else { return Ok(Vec::new()) };
    let mut inherited = File::from(inherited);
    let mut payload = Vec::with_capacity(TYPICAL);
    loop {
        let room = (limits::PAYLOAD + 1 - payload.len()) as u64;
        match inherited.by_ref().take(room).read_to_end(&mut payload) {
            Ok(_) if payload.len() > limits::PAYLOAD => return Err(PayloadError::TooLong),
            Ok(_) => return Ok(payload),
            // What was read so far is kept. A caller with an event loop may pass a non-blocking pipe.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(&inherited, PollFlags::IN)];
                match poll(&mut wanted, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(PayloadError::Unreadable(error.into())),
                }
            }
            // The descriptor is open for writing only, so it is no payload of a caller.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(Vec::new()),
            Err(error) => return Err(PayloadError::Unreadable(error)),
        }
    }
}
