//! What is wrapped for a PKCS#11 token.

#![no_main]

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::pkcs11::{MAX_RECIPIENTS, parse};

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes) {
        Ok(blobs) => assert!((1..=MAX_RECIPIENTS).contains(&blobs.len())),
        Err(error) => tell(&error),
    }
});
