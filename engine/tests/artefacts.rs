//! An artefact that was compiled with a proposal which is off is refused when it is loaded, whatever
//! the guest in it makes of that proposal.

use keycell_engine::FEATURES;
use wasmtime::{Engine, Module, WasmFeatures};

/// Proposals for which there is a compiler in this build.
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
    let engine = Engine::new(&keycell_engine::config(None)?)?;
    let own = engine.precompile_module(module)?;
    // SAFETY: the compiler has just made it.
    unsafe { Module::deserialize(&engine, own)? };
    for feature in COMPILED {
        assert!(!FEATURES.intersects(feature), "{feature:?} is on");
        let mut config = keycell_engine::config(None)?;
        config.wasm_features(feature, true);
        let foreign = Engine::new(&config)?.precompile_module(module)?;
        // SAFETY: as above.
        let error = unsafe { Module::deserialize(&engine, foreign) }.map(drop).expect_err("more");
        assert!(error.to_string().contains("support for WebAssembly feature"), "{error:?}");
    }
    Ok(())
}
