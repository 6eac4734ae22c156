//! Keycell's promise, attacked: guests that go against it, run in the real host as containerd
//! runs it.
//!
//! | where | what |
//! |---|---|
//! | `guests/` | the guests, one for each promise: `examples/` in Rust, `text/` in WebAssembly's text form |
//! | `src/bin/hostile-decoder.rs` | `ctd-decoder` with another guest than its own |
//! | [`accident`] | a bug of the host, at any moment |
//! | [`attack`] | one run of it, and what must hold after any attack |
//! | [`layer`], [`keys`] | an encrypted layer with a known key; a keys directory that invites to leave it |
//! | `tests/hostile/` | a test for each guest; one without a test does not compile |
//! | `src/bin/probe.rs` | everything that is forbidden, tried in both instances and printed as a table |

pub mod accident;
pub mod attack;
pub mod guest;
pub mod keys;
pub mod layer;

include!(concat!(env!("OUT_DIR"), "/fixtures.rs"));
