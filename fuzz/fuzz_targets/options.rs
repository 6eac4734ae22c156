//! The private and the public options, with a zero between them.

#![no_main]

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::encrypt::private_options;
use ocicrypt::options::{PrivateOptions, PublicOptions, layer_key, layer_key_of};

fuzz_target!(|bytes: &[u8]| {
    let zero = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (private, public) = (&bytes[..zero], bytes.get(zero + 1..).unwrap_or_default());
    let private = PrivateOptions::parse(private).map_err(|error| tell(&error));
    let public = PublicOptions::parse(public).map_err(|error| tell(&error));
    let (Ok(private), Ok(public)) = (private, public) else { return };
    match layer_key(&private, &public) {
        // What is written of the key reads as the same key.
        Ok(key) => {
            let again = layer_key_of(&private_options(&key), &public);
            assert!(again.is_ok_and(|again| again.is_same(&key)));
        }
        Err(error) => tell(&error),
    }
});
