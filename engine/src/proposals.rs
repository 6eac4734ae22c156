//! The proposals of WebAssembly that guests may not use, by name.

use std::fmt;

use wasmparser::{Validator, WasmFeatures};

use crate::FEATURES;

/// A proposal, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal(WasmFeatures);

impl Proposal {
    /// More than one memory in a module.
    pub const MULTI_MEMORY: Self = Self(WasmFeatures::MULTI_MEMORY);

    /// How to build a guest without it.
    pub fn without(self) -> &'static str {
        match self.0 {
            WasmFeatures::GC | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::CM_GC => {
                "compile for linear memory instead of garbage-collected objects"
            }
            WasmFeatures::GC_TYPES => "build it without references to objects of the host",
            WasmFeatures::TAIL_CALL => {
                "`-mno-tail-call` for clang, `-C target-feature=-tail-call` for rustc"
            }
            WasmFeatures::MEMORY64 | WasmFeatures::CM64 => "build it for wasm32",
            WasmFeatures::MULTI_MEMORY => {
                "build it with one memory (`-mno-multimemory` for clang), and do not compose \
                 components that pass strings or lists to each other"
            }
            WasmFeatures::RELAXED_SIMD => {
                "`-mno-relaxed-simd` for clang, `-C target-feature=-relaxed-simd` for rustc"
            }
            WasmFeatures::EXCEPTIONS | WasmFeatures::LEGACY_EXCEPTIONS => {
                "`-fno-exceptions` for clang, `-C panic=abort` for rustc"
            }
            WasmFeatures::THREADS | WasmFeatures::SHARED_EVERYTHING_THREADS => {
                "`-mno-atomics` and no `-pthread` for clang; a target without `-threads`"
            }
            WasmFeatures::CM_ASYNC => "build it for WASI 0.2, whose functions are synchronous",
            _ => "build it without",
        }
    }
}

/// The name of the proposal.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == WasmFeatures::GC_TYPES {
            return f.write_str("externref");
        }
        let names = self.0.iter_names().map(|(name, _)| {
            let name = name.to_lowercase().replace('_', "-");
            name.strip_prefix("cm-").map(|rest| format!("component-model-{rest}")).unwrap_or(name)
        });
        f.write_str(&names.collect::<Vec<_>>().join(", "))
    }
}

/// Returns the proposals that `wasm` needs in addition to [`FEATURES`]. It returns none if `wasm` is
/// valid without them, or invalid with all of them.
pub fn needed(wasm: &[u8]) -> Vec<Proposal> {
    let is_valid = |features| Validator::new_with_features(features).validate_all(wasm).is_ok();
    let mut features = WasmFeatures::all();
    if is_valid(FEATURES) || !is_valid(features) {
        return Vec::new();
    }
    // One feature after the other is removed, permanently if the code is valid without it. Newer ones
    // are removed first, because `gc` includes all of `function-references`.
    let mut needed = Vec::new();
    let off: Vec<_> = (features - FEATURES).iter_names().collect();
    for (_, feature) in off.into_iter().rev() {
        if is_valid(features - feature) {
            features -= feature;
        } else {
            needed.push(Proposal(feature));
        }
    }
    needed.reverse();
    // `gc` includes references to garbage-collected objects.
    if needed.contains(&Proposal(WasmFeatures::GC)) {
        needed.retain(|proposal| *proposal != Proposal(WasmFeatures::GC_TYPES));
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Modules that are valid with the named proposal, and invalid without it.
    const USED: &[(&str, &str)] = &[
        ("gc", "(module (type (struct)))"),
        ("gc", "(module (type $t (sub (func))) (type (sub $t (func))))"),
        ("gc", "(module (rec (type (func)) (type (func))))"),
        ("function-references", "(module (type $t (func)) (func (param (ref null $t))))"),
        ("function-references", "(module (func (param (ref func))))"),
        ("externref", "(module (func (param externref)))"),
        ("tail-call", "(module (func $f return_call $f))"),
        (
            "tail-call",
            "(module (type $t (func)) (table 1 funcref) (func i32.const 0 return_call_indirect (type $t)))",
        ),
        ("memory64", "(module (memory i64 1))"),
        ("memory64", "(module (table i64 1 funcref))"),
        ("multi-memory", "(module (memory 1) (memory 1))"),
        (
            "relaxed-simd",
            "(module (func (param v128 v128) (result v128) \
             local.get 0 local.get 1 i8x16.relaxed_swizzle))",
        ),
        ("exceptions", "(module (tag))"),
        ("exceptions", "(module (func (param exnref)))"),
        ("threads", "(module (memory 1 1 shared))"),
        ("threads", "(module (memory 1) (func i32.const 0 i32.atomic.load drop))"),
        ("threads", "(module (func atomic.fence))"),
        ("custom-page-sizes", "(module (memory 1 (pagesize 1)))"),
        ("stack-switching", "(module (type $f (func)) (type (cont $f)))"),
        ("component-model-async", "(component (type (future u8)))"),
        ("component-model-async", "(component (import \"f\" (func async)))"),
        ("component-model-fixed-length-lists", "(component (type (list u8 4)))"),
    ];

    #[test]
    fn each_proposal_is_told_by_name() {
        for (name, text) in USED {
            let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let needed: Vec<_> = needed(&wasm).iter().map(Proposal::to_string).collect();
            assert!(needed.iter().any(|needed| needed == name), "{text}: {needed:?}");
        }
    }

    #[test]
    fn what_guests_use_is_none() {
        for text in [
            "(module (memory 1) (func (param i32 i32 i32) \
             local.get 0 local.get 1 local.get 2 memory.copy))",
            "(module (memory 1) (data \"x\") (func i32.const 0 i32.const 0 i32.const 0 memory.init 0))",
            "(module (table 1 funcref) (elem declare func 0) (func ref.func 0 drop))",
            "(module (func (result i32 i32) i32.const 1 i32.const 2))",
            "(module (func (param i32) (result i32) local.get 0 i32.extend8_s))",
            "(module (func (param f32) (result i32) local.get 0 i32.trunc_sat_f32_s))",
            "(module (func (param v128) (result v128) local.get 0 i8x16.neg))",
            "(module (func (param i64 i64) (result i64 i64) local.get 0 local.get 1 i64.mul_wide_u))",
            "(module (import \"e\" \"b\" (global i32)) \
             (global i32 (i32.add (global.get 0) (i32.const 1))))",
            "(component)",
        ] {
            let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(needed(&wasm), [], "{text}");
            assert!(Validator::new_with_features(FEATURES).validate_all(&wasm).is_ok(), "{text}");
        }
    }

    #[test]
    fn several_are_all_told() {
        let wasm = wat::parse_str("(module (memory i64 1) (memory 1) (tag))");
        let needed = needed(&wasm.expect("text"));
        let names: Vec<_> = needed.iter().map(Proposal::to_string).collect();
        assert_eq!(names, ["multi-memory", "exceptions", "memory64"]);
    }

    #[test]
    fn what_is_not_wasm_needs_none() {
        assert_eq!(needed(b"\0asm\x01\0\0\0\xff"), []);
    }
}
