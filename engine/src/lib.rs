//! The wasmtime settings that `ctd-decoder` and whatever compiles guests for it must share.
//!
//! An artefact is accepted only by an engine with the same settings as the one that compiled it,
//! so there is one place that knows them.

#![forbid(unsafe_code)]

use wasmtime::{Config, ModuleVersionStrategy, Result, WasmFeatures};

#[cfg(feature = "compiler")]
pub mod compiler;
#[cfg(feature = "compiler")]
pub mod miscompiled;
#[cfg(feature = "compiler")]
pub mod proposals;

/// The engine that artefacts are compiled for and refused by, as records and messages name it.
/// The exact version: a mended compiler must not run what the broken one has made.
pub const ENGINE: &str = env!("ENGINE");

/// The WebAssembly that guests may use: version 2.0 of the standard, constant expressions, wide
/// arithmetic and components, which is what the compilers of C, Go, Python, Rust and JavaScript make.
///
/// Everything else is off, because each proposal is more code in which wasmtime may have a bug. One
/// had (GHSA-rc4p-x33f-vpr2): a guest with a subtype of a function compiled, and made wasmtime panic
/// when it ran. A proposal that a later wasmtime has is off until it is added here.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    // References to objects of the host: what takes care of them is not built in.
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    // RSA and elliptic curves multiply 64 by 64 bits: five times faster with this.
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::COMPONENT_MODEL);

/// The target of this machine, for guests that are compiled on it.
pub fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// The settings of an engine that runs decoder guests.
///
/// # Errors
/// Where wasmtime does not know `target`, a target triple such as `x86_64-unknown-linux-gnu`. With
/// `Some`, code is made for the baseline of that target (x86-64-v1 for instance) and not for the
/// CPU of the machine that compiles: it has to run on every node. `None` is for an engine that
/// only runs, or compiles for the CPU of this very machine.
pub fn config(target: Option<&str>) -> Result<Config> {
    let mut config = Config::new();
    if let Some(target) = target {
        config.target(target)?;
    }
    config.module_version(ModuleVersionStrategy::Custom(ENGINE.to_owned()))?;
    // The deadline: compiled code looks at a counter that a timer advances.
    config.epoch_interruption(true);
    config.wasm_features(WasmFeatures::all(), false).wasm_features(FEATURES, true);
    // A sixth of an artefact is for those who look into it, and nobody does. The way back from a trap
    // is found without.
    config.generate_address_map(false).native_unwind_info(false).debug_symbols(false);
    // A guest's data is copied, which is a few pages, and not mapped from a file in memory, which
    // would have to be made first, behind the walls.
    config.memory_init_cow(false);
    Ok(config)
}
