//! A manifest of containerd's content store, and what its layers' first bytes may be.

#![no_main]

use keycell_fuzz::tell;
use libfuzzer_sys::fuzz_target;
use ocicrypt::manifest::encrypted_layers;
use ocicrypt::media_type::{begins_like_a_layer, plain};

fuzz_target!(|bytes: &[u8]| {
    begins_like_a_layer(bytes);
    match encrypted_layers(bytes) {
        Ok(layers) => {
            for layer in layers {
                layer.length();
                let _ = plain(&layer.media_type);
            }
        }
        Err(error) => tell(&error),
    }
});
