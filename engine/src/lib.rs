//! The wasmtime settings that `ctd-decoder` and every program that compiles guests for it must share.
//!
//! An engine accepts an artefact only if an engine with the same settings compiled it, so there is one
//! place that defines them.

#![forbid(unsafe_code)]

use wasmtime::{Config, ModuleVersionStrategy, Result, WasmFeatures};

#[cfg(feature = "compiler")]
pub mod compiler;
#[cfg(feature = "compiler")]
pub mod miscompiled;
#[cfg(feature = "compiler")]
pub mod proposals;

/// The engine that artefacts are compiled for, as records and messages name it. An engine refuses
/// artefacts of another one. It includes the exact version, so that code from a compiler with a bug
/// does not run after the bug is fixed.
pub const ENGINE: &str = env!("ENGINE");

/// The WebAssembly that guests may use: version 2.0 of the standard, constant expressions, wide
/// arithmetic and components. The compilers of C, Go, Python, Rust and JavaScript generate these.
///
/// Everything else is off, because each proposal is more code in which wasmtime may have a bug. One
/// proposal had such a bug (GHSA-rc4p-x33f-vpr2): a guest with a subtype of a function compiled, and
/// made wasmtime panic when it ran. A proposal that a later wasmtime supports is off until it is added
/// here.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    // References to objects of the host are off, because the code that manages them is not built in.
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    // RSA and elliptic curves multiply 64 by 64 bits, which is five times faster with this.
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::COMPONENT_MODEL);

/// The target of this machine, for guests that are compiled on it.
pub fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Whether an engine can stop a guest that does not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Compiled code compares an epoch, which a timer advances, at every loop and call.
    Epoch,
    /// It cannot: the host ends the process instead, some seconds after the deadline. This is for the guest
    /// that is built with the host. Without the comparisons it decompresses a layer in six sevenths of the time.
    None,
}

/// The settings of an engine that runs decoder guests.
///
/// # Errors
/// wasmtime does not know `target`, a target triple such as `x86_64-unknown-linux-gnu`. With `Some`,
/// code is made for the baseline of that target (for instance x86-64-v1) and not for the CPU of the
/// machine that compiles, because it must run on every node. `None` is for an engine that only runs
/// code, or that compiles for the CPU of this machine.
pub fn config(target: Option<&str>, interruption: Interruption) -> Result<Config> {
    let mut config = Config::new();
    if let Some(target) = target {
        config.target(target)?;
    }
    config.module_version(ModuleVersionStrategy::Custom(ENGINE.to_owned()))?;
    config.epoch_interruption(interruption == Interruption::Epoch);
    config.wasm_features(WasmFeatures::all(), false).wasm_features(FEATURES, true);
    // Address maps, unwind information and symbols would be a sixth of an artefact, and are only for
    // debugging. A trap can be handled without them.
    config.generate_address_map(false).native_unwind_info(false).debug_symbols(false);
    // A guest's data, which is a few pages, is copied. Mapping it would need a file in memory, which
    // would have to be created behind the walls.
    config.memory_init_cow(false);
    Ok(config)
}
