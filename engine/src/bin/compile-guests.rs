//! `compile-guests embedded|installed TARGET DIRECTORY NAME…` compiles the components `NAME.wasm` in a
//! directory to `NAME.cwasm`, on all CPUs: for being built into the host, or as guests that are installed.
//! Build scripts run it (`nested-build/`); it is not installed itself.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, thread};

use keycell_engine::compiler::{Error, compile_component, compile_embedded};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (compiler, target, directory, names): (Compiler, _, _, _) = match words.as_slice() {
        ["embedded", target, directory, names @ ..] => (compile_embedded, target, directory, names),
        ["installed", target, directory, names @ ..] => {
            (compile_component, target, directory, names)
        }
        _ => {
            eprintln!("usage: compile-guests embedded|installed TARGET DIRECTORY NAME…");
            return ExitCode::from(2);
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = names.len().div_ceil(workers).max(1);
    let all_well = thread::scope(|scope| {
        let compile = |name: &&str| compile(compiler, target, &Path::new(directory).join(name));
        let shares = names.chunks(share);
        let workers: Vec<_> =
            shares.map(|names| scope.spawn(move || names.iter().all(compile))).collect();
        workers.into_iter().all(|worker| worker.join().unwrap_or(false))
    });
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Compiler = fn(&[u8], Option<&str>) -> Result<Vec<u8>, Error>;

fn compile(compiler: Compiler, target: &str, path: &Path) -> bool {
    let artefact = fs::read(path.with_extension("wasm"))
        .map_err(|error| error.to_string())
        .and_then(|guest| compiler(&guest, Some(target)).map_err(|error| error.to_string()))
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
