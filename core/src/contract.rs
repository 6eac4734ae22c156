//! The host's side of `wit/decoder.wit`, generated from it.
#![cfg_attr(feature = "runtime", expect(missing_docs, reason = "documented in `wit/decoder.wit`"))]

#[cfg(feature = "runtime")]
wasmtime::component::bindgen!({
    path: "../wit",
    world: "keycell:decoder/decoder",
    imports: { default: trappable },
    exports: { default: async },
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
    },
});

#[cfg(feature = "runtime")]
pub use exports::keycell::decoder::unwrapping::Request;
#[cfg(feature = "runtime")]
pub use keycell::decoder::types::{
    Algorithms, CipherKey, Failure, KeyFile, LayerKey, Opened, Origin, Stored, StoredLayer,
    Unwrapped,
};

/// As in the contract, for those who do not run guests.
#[cfg(not(feature = "runtime"))]
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// What would mend it, a line each.
    pub hints: Vec<String>,
    /// The digest of the layer, if it is known.
    pub layer_digest: Option<String>,
    /// The refusals of the broker that it is about.
    pub refusals: Vec<u32>,
    /// The stored manifests that it is about.
    pub manifests: Vec<u32>,
}
