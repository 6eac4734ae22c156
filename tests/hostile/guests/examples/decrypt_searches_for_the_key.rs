//! Searches all of its memory for the layer key in `decrypt`: before it opens the cipher, after
//! that, in the middle of the layer and at its end.
//!
//! Where the operator does not lend the cipher, the key is there, and the search has to find it.

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, OutputStream, Refusal, Report, StreamError, cipher, copy,
    failure, fixture,
};

/// The harness's layer key with every bit inverted: written out, the search would find itself.
const INVERTED: [u8; 32] = inverted(*b"a key that everybody here knows.");

/// Bytes of the key that count as found, wherever in the key they stand.
const PART: usize = 8;

struct Searches;

impl Fixture for Searches {
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let mut report = Report::default();
        report.attempt("before", search());
        let plain = match cipher::open(source) {
            Ok(plain) => plain,
            Err(Refusal::NotGranted(own)) => {
                let found = search().is_ok();
                drop(own);
                return Err(failure(match found {
                    true => "with the key in memory, the search finds it",
                    false => "HARM, the search is blind",
                }));
            }
            Err(refusal) => return Err(failure(&format!("HARM, {refusal:?}"))),
        };
        report.attempt("open", search());
        let half = plain.blocking_read(500).map_err(|error| broken(&error))?;
        sink.blocking_write_and_flush(&half).map_err(|error| broken(&error))?;
        report.attempt("half read", search());
        copy(&plain, &sink)?;
        report.attempt("at the end", search());
        Err(report.failure())
    }
}

fixture!(Searches);

fn broken(error: &StreamError) -> Failure {
    failure(&format!("HARM, the layer does not flow: {error:?}"))
}

/// The address of a part of the key.
///
/// # Errors
/// There is none in this memory.
fn search() -> Result<usize, String> {
    let end = core::arch::wasm32::memory_size(0) << 16;
    // Not address 0, which Rust keeps for null.
    for address in 1..end - PART {
        let parts = INVERTED.windows(PART);
        for part in parts {
            if part.iter().enumerate().all(|(place, byte)| !byte_at(address + place) == *byte) {
                return Ok(address);
            }
        }
    }
    Err(format!("nothing in {end} bytes"))
}

#[expect(unsafe_code, reason = "the search reads memory that is not its own")]
fn byte_at(address: usize) -> u8 {
    // SAFETY: the address lies within the linear memory, of which every byte can be read, and the
    // read is volatile, so the compiler assumes nothing about it.
    unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

const fn inverted(mut key: [u8; 32]) -> [u8; 32] {
    let mut place = 0;
    while place < key.len() {
        key[place] = !key[place];
        place += 1;
    }
    key
}
