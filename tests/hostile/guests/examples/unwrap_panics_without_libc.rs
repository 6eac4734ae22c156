//! Panics in `unwrap`, with what the embedded guest has in place of a C library: the last words get out,
//! and there is no environment.

#[path = "../../../../guest/src/libc.rs"]
#[expect(unsafe_code, reason = "functions that C code could call")]
mod libc;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, fixture};

struct PanicsWithoutLibc;

impl Fixture for PanicsWithoutLibc {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        // More than is written with one call.
        let long = "x".repeat(10_000);
        panic!("{long}\nlast words, and HOME is {:?}", std::env::var("HOME"))
    }
}

fixture!(PanicsWithoutLibc);
