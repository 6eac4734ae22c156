//! Ahead-of-time compilation of guests. `ctd-decoder` is built without this module.

use wasmtime::{Config, Engine, OptLevel, Result};

use crate::misread;

/// Compiles a component for `target` and returns the artefact that `ctd-decoder` loads. `None` is
/// for the CPU of this machine, and others like it.
///
/// # Errors
/// Where `component` is not a valid component, `target` is not known, or LLVM has miscompiled it
/// ([`misread`]).
pub fn compile_component(component: &[u8], target: Option<&str>) -> Result<Vec<u8>> {
    misread::refuse(component)?;
    Engine::new(&compiling(target)?)?.precompile_component(component)
}

/// Compiles a core module, as [`compile_component`] does a component.
///
/// # Errors
/// Where `module` is not a valid core module, `target` is not known, or LLVM has miscompiled it.
pub fn compile_module(module: &[u8], target: Option<&str>) -> Result<Vec<u8>> {
    misread::refuse(module)?;
    Engine::new(&compiling(target)?)?.precompile_module(module)
}

fn compiling(target: Option<&str>) -> Result<Config> {
    let mut config = crate::config(target)?;
    config.cranelift_opt_level(OptLevel::Speed);
    Ok(config)
}
