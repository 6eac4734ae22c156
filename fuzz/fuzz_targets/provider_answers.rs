//! What a key provider answers, as the broker reads it: the bytes that it holds, in base64 or as a
//! list of numbers.

#![no_main]

use keycell_fuzz::provider::{unwrapped, wrapped};
use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for found in [unwrapped(bytes), wrapped(bytes)] {
        match found {
            Ok(content) => assert!((1..=bytes.len()).contains(&content.len())),
            Err(fault) => tell(&fault),
        }
    }
});
