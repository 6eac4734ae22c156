//! A manifest of containerd's content store, and what its layers' first bytes may be.

#![no_main]

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::manifest::encrypted_layers;
use ocicrypt::media_type::{may_begin_with, plain};

fuzz_target!(|bytes: &[u8]| {
    match encrypted_layers(bytes) {
        Ok(layers) => {
            for layer in layers {
                layer.length();
                if let Ok(plain) = plain(&layer.media_type) {
                    may_begin_with(plain, bytes);
                }
            }
        }
        Err(error) => tell(&error),
    }
});
