//! `ctd-decoder`: decrypts a layer of an encrypted OCI image for containerd, in a sandbox.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(all(target_feature = "crt-static", not(getrandom_backend = "linux_getrandom")))]
compile_error!(
    "a program without a dynamic linker gets no random numbers behind its walls: add \
     `--cfg getrandom_backend=\"linux_getrandom\"` to RUSTFLAGS, which replaces .cargo/config.toml"
);

/// The allocator wipes memory when it is freed, because it may have held a key.
#[global_allocator]
static MEMORY: keycell_walls::zeroizing_alloc::ZeroizingAlloc =
    keycell_walls::zeroizing_alloc::ZeroizingAlloc;

fn main() -> ExitCode {
    keycell_host::main(&keycell_host::native_code::embedded())
}
