//! The host's side of `wit/decoder.wit`, generated from it.
#![expect(missing_docs, reason = "documented in `wit/decoder.wit`")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "keycell:decoder/decoder",
    imports: { default: trappable },
    exports: { default: async },
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
    },
});

pub use exports::keycell::decoder::decrypting::Output;
pub use exports::keycell::decoder::unwrapping::Request;
pub use keycell::decoder::types::{
    Algorithms, CipherKey, Failure, KeyFile, LayerKey, Opened, Origin, Stored, StoredLayer,
    Unwrapped,
};
pub use keycell::decoder::{broker, cipher, providers, tokens, types};
