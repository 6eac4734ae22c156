//! `compile-guests TARGET DIRECTORY NAME…` compiles the components `NAME.wasm` in a directory to
//! `NAME.cwasm`, on all CPUs. Build scripts run it (`nested-build/`); it is not installed.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, thread};

use keycell_engine::compiler::compile_component;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [target, directory, names @ ..] = args.as_slice() else {
        eprintln!("usage: compile-guests TARGET DIRECTORY NAME…");
        return ExitCode::from(2);
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = names.len().div_ceil(workers).max(1);
    let all_well = thread::scope(|scope| {
        let compile = |name: &String| compile(target, &Path::new(directory).join(name));
        let shares = names.chunks(share);
        let workers: Vec<_> =
            shares.map(|names| scope.spawn(move || names.iter().all(compile))).collect();
        workers.into_iter().all(|worker| worker.join().unwrap_or(false))
    });
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compile(target: &str, path: &Path) -> bool {
    let artefact = fs::read(path.with_extension("wasm"))
        .map_err(|error| error.to_string())
        .and_then(|guest| {
            compile_component(&guest, Some(target)).map_err(|error| error.to_string())
        })
        .and_then(|artefact| {
            fs::write(path.with_extension("cwasm"), artefact).map_err(|error| error.to_string())
        });
    match artefact {
        Ok(()) => true,
        Err(error) => {
            eprintln!("compile-guests: error: {}: {error}", path.display());
            false
        }
    }
}
