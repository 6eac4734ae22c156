//! Ahead-of-time compilation of guests. `ctd-decoder` is built without this module.

use wasmtime::{Config, Engine, OptLevel, Result};

/// Compiles a component for `target` and returns the artefact that `ctd-decoder` loads. `None` is
/// for the CPU of this machine, and others like it.
///
/// # Errors
/// Where `component` is not a valid component or `target` is not known.
pub fn compile_component(component: &[u8], target: Option<&str>) -> Result<Vec<u8>> {
    Engine::new(&compiling(target)?)?.precompile_component(component)
}

/// Compiles a core module, as [`compile_component`] does a component.
///
/// # Errors
/// Where `module` is not a valid core module or `target` is not known.
pub fn compile_module(module: &[u8], target: Option<&str>) -> Result<Vec<u8>> {
    Engine::new(&compiling(target)?)?.precompile_module(module)
}

fn compiling(target: Option<&str>) -> Result<Config> {
    let mut config = crate::config(target)?;
    config.cranelift_opt_level(OptLevel::Speed);
    Ok(config)
}
