//! The engine refuses to load an artefact that was compiled with a proposal that is off, whether or not
//! the guest in it uses that proposal.

use keycell_engine::{FEATURES, Interruption};
use wasmtime::{Engine, Module, WasmFeatures};

/// Proposals that the compiler of this build supports.
const COMPILED: [WasmFeatures; 7] = [
    WasmFeatures::GC,
    WasmFeatures::FUNCTION_REFERENCES,
    WasmFeatures::TAIL_CALL,
    WasmFeatures::MEMORY64,
    WasmFeatures::MULTI_MEMORY,
    WasmFeatures::RELAXED_SIMD,
    WasmFeatures::CUSTOM_PAGE_SIZES,
];

#[test]
#[expect(unsafe_code, reason = "native code is loaded, and not run")]
fn artefacts_of_other_engines_are_refused() -> wasmtime::Result<()> {
    let module = b"\0asm\x01\0\0\0";
    let engine = Engine::new(&keycell_engine::config(None, Interruption::Epoch)?)?;
    let own = engine.precompile_module(module)?;
    // SAFETY: the compiler has just made the artefact.
    unsafe { Module::deserialize(&engine, own)? };
    for feature in COMPILED {
        assert!(!FEATURES.intersects(feature), "{feature:?} is on");
        let mut config = keycell_engine::config(None, Interruption::Epoch)?;
        config.wasm_features(feature, true);
        let foreign = Engine::new(&config)?.precompile_module(module)?;
        // SAFETY: as above.
        let error = unsafe { Module::deserialize(&engine, foreign) }.map(drop).expect_err("more");
        assert!(error.to_string().contains("support for WebAssembly feature"), "{error:?}");
    }
    Ok(())
}
