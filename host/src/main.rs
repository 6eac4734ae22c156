//! `ctd-decoder`: decrypts a layer of an encrypted OCI image for containerd, in a sandbox.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Whatever held a key is wiped when it is freed.
#[global_allocator]
static MEMORY: keycell_walls::wiping::Wiping = keycell_walls::wiping::Wiping;

fn main() -> ExitCode {
    keycell_host::main(&keycell_host::artefact::embedded())
}
