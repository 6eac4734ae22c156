//! Arithmetic of RSA and P-256, and bitsliced AES, for WebAssembly, which has no instructions for them.
