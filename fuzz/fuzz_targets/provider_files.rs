//! The operator's file of key providers. A faulty entry is reported when it is used, and affects no other.

#![no_main]

use keycell_broker::providers::Providers;
use keycell_fuzz::{OwnFile, tell};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Providers::open(OwnFile::with(bytes).path()) {
        Ok(providers) => assert!(providers.names().count() <= bytes.len()),
        Err(refusal) => tell(&refusal),
    }
});
