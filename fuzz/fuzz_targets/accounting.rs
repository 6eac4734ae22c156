//! The host's accounting under a guest that handles the layer arbitrarily: reads it in any
//! pieces, writes it, other bytes, or none, in any order and number, and says that it is done.
//!
//! Nothing but the released bytes is written, in their order; never the last 64 KiB before the
//! verdict; and all of them only from a guest that has passed all of them on.

#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};

use bytes::Bytes;
use keycell_core::{Accounting, CipherSide, limits};
use keycell_fuzz::Fields;
use libfuzzer_sys::fuzz_target;
use ocicrypt::layer::CHUNK;

thread_local! {
    /// What was written, and how much is taken before the output breaks.
    static STDOUT: RefCell<(Vec<u8>, usize)> = const { RefCell::new((Vec::new(), 0)) };
}

struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        STDOUT.with_borrow_mut(|(out, room)| {
            let fits = bytes.len().min(*room);
            out.extend_from_slice(&bytes[..fits]);
            *room -= fits;
            if fits == 0 && !bytes.is_empty() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(fits) }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a guest does next, at most so often.
const MOST: usize = 512;

/// Where bytes from further on come from.
const LONGEST: usize = 32 * CHUNK;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields(bytes);
    let (side, breaks) = (fields.u8(), fields.u8());
    let side = if side % 2 == 0 { CipherSide::Host } else { CipherSide::Guest };
    let room = if breaks % 4 == 1 { fields.u32() as usize % (8 * CHUNK) } else { usize::MAX };
    STDOUT.set((Vec::new(), room));
    match side {
        CipherSide::Host => host_side(fields),
        CipherSide::Guest => guest_side(fields),
    }
});

/// The host's cipher gave the bytes out, so it knows them.
fn host_side(mut fields: Fields<'_>) {
    let mut accounting = Accounting::new(Box::new(Output));
    let (mut released, mut claimed) = (Vec::new(), 0);
    let mut given = VecDeque::new();
    for _ in 0..MOST {
        if fields.is_empty() {
            break;
        }
        let written = match fields.u8() % 8 {
            0 | 1 => {
                let bytes = Bytes::from(layer(released.len(), usize::from(fields.u16()) * 5));
                if accounting.release(&bytes).is_ok() {
                    released.extend_from_slice(&bytes);
                    given.push_back(bytes);
                }
                assert!(released.len() - claimed <= limits::OUTSTANDING);
                continue;
            }
            2 => {
                accounting.opened = true;
                accounting.drained |= fields.u8() % 2 == 0;
                continue;
            }
            // As a splice does it: the very buffer, in its turn or not.
            3 | 4 => given.pop_front(),
            // A copy of the next bytes, which may be more than there are.
            5 => Some(layer(claimed, usize::from(fields.u16()) * 3).into()),
            // The same bytes twice, or those from further on.
            6 => Some(layer(fields.u32() as usize % LONGEST, usize::from(fields.u16())).into()),
            _ => Some(Bytes::copy_from_slice(fields.bytes())),
        };
        let written = written.unwrap_or_default();
        let genuine = !accounting.is_faulty() && released[claimed..].starts_with(&written);
        let length = written.len();
        match accounting.claim(&written) {
            Ok(()) => {
                assert!(genuine, "bytes were taken that the cipher did not give out next");
                claimed += length;
                let _ = accounting.hold_back(written); // what goes wrong with it is in the accounting
            }
            Err(_) => assert!(!genuine && accounting.is_faulty()),
        }
        is_held_back(&released[..claimed]);
    }
    let is_complete = accounting.is_complete(CipherSide::Host);
    assert!(!is_complete || accounting.opened && accounting.drained && claimed == released.len());
    let is_out = is_complete && accounting.write_held().is_ok();
    STDOUT.with_borrow(|(out, _)| {
        assert!(released.starts_with(out));
        assert!(!is_out || out.len() == released.len());
    });
}

/// The guest decrypts by itself: the host knows how much it has read, and no more.
fn guest_side(mut fields: Fields<'_>) {
    let mut accounting = Accounting::new(Box::new(Output));
    let mut written = Vec::new();
    for _ in 0..MOST {
        if fields.is_empty() {
            break;
        }
        match fields.u8() % 4 {
            0 => accounting.read += u64::from(fields.u16()) * 3,
            1 => accounting.source_ended = true,
            _ => {
                let bytes = Bytes::from(layer(written.len(), usize::from(fields.u16()) * 3));
                let fits = (written.len() + bytes.len()) as u64 <= accounting.read;
                let accepted = accounting.allow(&bytes);
                assert!(accepted.is_err() || fits, "more was taken than was read");
                match accepted {
                    Ok(()) => {
                        written.extend_from_slice(&bytes);
                        let _ = accounting.hold_back(bytes); // what goes wrong with it is in the accounting
                    }
                    Err(_) => assert!(accounting.is_faulty()),
                }
            }
        }
        is_held_back(&written);
    }
    let is_complete = accounting.is_complete(CipherSide::Guest);
    assert!(!is_complete || accounting.source_ended && written.len() as u64 == accounting.read);
    let is_out = is_complete && accounting.write_held().is_ok();
    STDOUT.with_borrow(|(out, _)| assert!(!is_out || *out == written));
}

/// Before the verdict what came out are the first bytes that were taken, and of those the last
/// 64 KiB are not among it.
fn is_held_back(taken: &[u8]) {
    STDOUT.with_borrow(|(out, _)| {
        assert!(taken.starts_with(out));
        assert!(out.is_empty() || out.len() + CHUNK <= taken.len(), "the last 64 KiB came out");
    });
}

/// Bytes of a layer that differ from place to place.
fn layer(from: usize, length: usize) -> Vec<u8> {
    let byte = |place: usize| (place as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0];
    (from..from + length).map(byte).collect()
}
