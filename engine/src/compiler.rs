//! Ahead-of-time compilation of guests. `ctd-decoder` is built without this module.

use std::panic::{self, AssertUnwindSafe};

use wasmtime::{Config, Engine, OptLevel};

use crate::proposals::{self, Proposal};
use crate::{Interruption, miscompiled};

/// Why a guest cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It uses a proposal that is off.
    #[error("it uses {}, which no guest may", listed(.0))]
    Proposals(Vec<Proposal>),
    /// LLVM has miscompiled it ([`miscompiled`]).
    #[error(
        "it was miscompiled: it reads a product before it is computed, {0} times, which LLVM before \
         version 23 does with `wide-arithmetic` (llvm/llvm-project#199910)"
    )]
    Miscompiled(usize),
    /// The compiler panicked.
    #[error("the compiler broke down: {0}")]
    Broken(String),
    /// The compiler's own error.
    #[error("{}", .0.root_cause())]
    Compiler(wasmtime::Error),
}

impl Error {
    /// How to fix the cause.
    pub fn hint(&self) -> String {
        match self {
            Self::Proposals(proposals) => {
                let without = |proposal: &Proposal| {
                    format!("without `{proposal}`: {}", proposal.without())
                };
                proposals.iter().map(without).collect::<Vec<_>>().join("; ")
            }
            Self::Miscompiled(_) => {
                "build it without `wide-arithmetic`, or with a newer compiler".to_owned()
            }
            Self::Broken(_) => {
                "this is a bug in wasmtime: report it with the file; another compiler, or other \
                 options, may make a guest without what it stumbles over"
                    .to_owned()
            }
            Self::Compiler(_) => {
                "it is not valid WebAssembly, or needs what this engine does not have: build it anew"
                    .to_owned()
            }
        }
    }
}

/// Compiles a component for `target` and returns the artefact that `ctd-decoder` loads. `None` means
/// the CPU of this machine and similar ones. It can be interrupted, as every guest that is installed.
///
/// # Errors
/// `component` is not a valid component within [`FEATURES`](crate::FEATURES), `target` is not known, or
/// LLVM has miscompiled the component.
pub fn compile_component(component: &[u8], target: Option<&str>) -> Result<Vec<u8>, Error> {
    compile(component, target, Interruption::Epoch, Engine::precompile_component)
}

/// Compiles the component that is built into `ctd-decoder`, as [`compile_component`] compiles another.
///
/// # Errors
/// As for [`compile_component`].
pub fn compile_embedded(component: &[u8], target: Option<&str>) -> Result<Vec<u8>, Error> {
    compile(component, target, Interruption::None, Engine::precompile_component)
}

/// Compiles a core module, as [`compile_component`] compiles a component.
///
/// # Errors
/// As for [`compile_component`].
pub fn compile_module(module: &[u8], target: Option<&str>) -> Result<Vec<u8>, Error> {
    compile(module, target, Interruption::Epoch, Engine::precompile_module)
}

type Precompile = fn(&Engine, &[u8]) -> wasmtime::Result<Vec<u8>>;

fn compile(
    wasm: &[u8],
    target: Option<&str>,
    interruption: Interruption,
    precompile: Precompile,
) -> Result<Vec<u8>, Error> {
    let needed = proposals::needed(wasm);
    if !needed.is_empty() {
        return Err(Error::Proposals(needed));
    }
    // If the code is invalid, the compiler reports it.
    match miscompiled::count(wasm).unwrap_or(0) {
        0 => {}
        places => return Err(Error::Miscompiled(places)),
    }
    let config = compiling(target, interruption).map_err(Error::Compiler)?;
    caught(wasm, &config, precompile).map_err(|error| {
        // Between composed components, wasmtime adds modules of its own, which have the memories of
        // both components. Without this proposal it panics.
        let mut config = config;
        config.wasm_multi_memory(true);
        match (&error, caught(wasm, &config, precompile)) {
            (Error::Broken(_), Ok(_)) => Error::Proposals(vec![Proposal::MULTI_MEMORY]),
            _ => error,
        }
    })
}

/// Runs the compiler, and turns its panic into an error. The panic hook of the program runs first.
fn caught(wasm: &[u8], config: &Config, precompile: Precompile) -> Result<Vec<u8>, Error> {
    let compiled = panic::catch_unwind(AssertUnwindSafe(|| {
        Engine::new(config).and_then(|engine| precompile(&engine, wasm))
    }));
    compiled.map_err(|panic| Error::Broken(panic_message(&*panic)))?.map_err(Error::Compiler)
}

/// The text of a panic, in one line.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "it does not say why".to_owned());
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

fn listed(proposals: &[Proposal]) -> String {
    let names: Vec<_> = proposals.iter().map(|proposal| format!("`{proposal}`")).collect();
    names.join(", ")
}

fn compiling(target: Option<&str>, interruption: Interruption) -> wasmtime::Result<Config> {
    let mut config = crate::config(target, interruption)?;
    config.cranelift_opt_level(OptLevel::Speed);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two components, one of which calls the other with a string. Each has its own memory.
    const COMPOSED: &str = r#"(component
      (component $callee
        (core module $m
          (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
          (func (export "take") (param i32 i32)))
        (core instance $i (instantiate $m))
        (func (export "take") (param "text" string)
          (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
      (component $caller
        (import "take" (func $take (param "text" string)))
        (core module $memory (memory (export "memory") 1))
        (core instance $memory (instantiate $memory))
        (core func $take (canon lower (func $take) (memory (core memory $memory "memory"))))
        (core module $m
          (import "" "take" (func $take (param i32 i32)))
          (func (export "go") i32.const 0 i32.const 4 call $take))
        (core instance $i (instantiate $m (with "" (instance (export "take" (func $take))))))
        (func (export "go") (canon lift (core func $i "go"))))
      (instance $callee (instantiate $callee))
      (instance $caller (instantiate $caller (with "take" (func $callee "take"))))
      (export "go" (func $caller "go")))"#;

    #[test]
    fn composed_components_are_refused_without_a_panic() {
        let wasm = wat::parse_str(COMPOSED).expect("text");
        let error = compile_component(&wasm, None).expect_err("it needs two memories");
        assert!(
            matches!(&error, Error::Proposals(needed) if needed[..] == [Proposal::MULTI_MEMORY]),
            "{error}"
        );
    }

    /// With subtypes of functions and without `gc`, wasmtime 48.0.8 panics (GHSA-rc4p-x33f-vpr2).
    #[test]
    fn a_subtype_of_a_function_is_refused() {
        let text = "(module (type $super (sub (func))) (type $sub (sub $super (func)))
          (memory (export \"memory\") 1) (table funcref (elem $f)) (func $f (type $sub))
          (func (export \"_start\") (call_indirect (type $super) (i32.const 0))))";
        let wasm = wat::parse_str(text).expect("text");
        let error = compile_module(&wasm, None).expect_err("it needs `gc`");
        assert_eq!(error.to_string(), "it uses `gc`, which no guest may");
        // The engine itself refuses it too.
        let engine = compiling(None, Interruption::Epoch)
            .and_then(|config| Engine::new(&config))
            .expect("an engine");
        assert!(engine.precompile_module(&wasm).is_err());
    }
}
