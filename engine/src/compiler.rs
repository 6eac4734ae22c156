//! Ahead-of-time compilation of guests. `ctd-decoder` is built without this module.

use wasmtime::{Config, Engine, OptLevel, Result};

/// Compiles a component for `target` and returns the artefact that `ctd-decoder` loads.
///
/// # Errors
/// Where `component` is not a valid component or `target` is not known.
pub fn compile_component(component: &[u8], target: &str) -> Result<Vec<u8>> {
    Engine::new(&compiling(target)?)?.precompile_component(component)
}

fn compiling(target: &str) -> Result<Config> {
    let mut config = crate::config(Some(target))?;
    config.cranelift_opt_level(OptLevel::Speed);
    Ok(config)
}
