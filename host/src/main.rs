//! `ctd-decoder`: decrypts a layer of an encrypted OCI image for containerd, in a sandbox.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    keycell_host::main(&keycell_host::artefact::embedded())
}
