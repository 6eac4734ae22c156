//! Arithmetic of RSA and P-256, and bitsliced AES, for WebAssembly, which has no instructions for them.
//!
//! `ocicrypt` uses this crate on `wasm32` only, where it saves about 5 ms a layer, and checks each of its
//! results with the library whose place it takes. Nothing in it is faster on a native target. Its tests
//! and those of `ocicrypt` compare it with these libraries natively.

#![forbid(unsafe_code)]

pub mod aes;
pub mod p256;
pub mod rsa;
