//! Builds the hostile guests, compiles each for the host's engine, and lists them all: the list is
//! a macro, so that a fixture without a test does not compile.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

use anyhow::{Context, Result, anyhow, ensure};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn main() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("no workspace")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?);
    for input in [
        "guest/src/libc.rs",
        "tests/hostile/guests",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }

    let mut guests = from_rust(root, &out)?;
    guests.extend(from_text(root, here)?);
    guests.sort();
    compile(&guests, &out)?;
    fs::write(out.join("fixtures.rs"), list(&guests, &out)?)?;
    Ok(())
}

/// A name and a component.
type Guest = (String, Vec<u8>);

/// `guests/examples/*.rs`, built in a target directory of their own: the outer one is locked by
/// the cargo that runs this.
fn from_rust(root: &Path, out: &Path) -> Result<Vec<Guest>> {
    let target = out.ancestors().nth(4).context("an unexpected OUT_DIR")?.join("hostile");
    let mut cargo = Command::new(env::var_os("CARGO").context("CARGO")?);
    cargo
        .current_dir(root)
        .args(["build", "--release", "--locked", "--package", "keycell-hostile-guests"])
        .args(["--examples", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_CFG_") || text.starts_with("CARGO_PROFILE_") {
            cargo.env_remove(name);
        }
    }
    // They run for milliseconds: what counts is how soon they are built.
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    ensure!(
        cargo.status()?.success(),
        "the guests were not built; their target comes with `rustup target add wasm32-wasip2`"
    );
    let built = target.join("wasm32-wasip2/release/examples");
    sources(&root.join("tests/hostile/guests/examples"), "rs")?
        .into_iter()
        .map(|(name, _)| {
            let guest = fs::read(built.join(&name).with_extension("wasm"));
            Ok((name.clone(), guest.with_context(|| format!("`{name}` is not in Cargo.toml"))?))
        })
        .collect()
}

/// `guests/text/*.wat`: what no language's compiler makes. Each is the module that has the steps; what
/// else its component holds is in a file of the same name in `beside/`.
fn from_text(root: &Path, here: &Path) -> Result<Vec<Guest>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root.join("wit"))?;
    let world = resolve.select_world(&[package], Some("decoder"))?;
    sources(&here.join("guests/text"), "wat")?
        .into_iter()
        .map(|(name, path)| {
            let mut module = wat::parse_file(&path)?;
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
            let component = ComponentEncoder::default().module(&module)?.validate(true).encode();
            let component = component.with_context(|| name.clone())?;
            let beside = here.join("guests/text/beside").join(&name).with_extension("wat");
            let component = match fs::read_to_string(beside) {
                Ok(text) => with(&component, &text).with_context(|| name.clone())?,
                Err(_) => component,
            };
            Ok((name, component))
        })
        .collect()
}

/// The component with more at its end.
fn with(component: &[u8], more: &str) -> Result<Vec<u8>> {
    let text = wasmprinter::print_bytes(component)?;
    let text = text.trim_end().strip_suffix(')').context("no component")?;
    Ok(wat::parse_str(format!("{text}{more})"))?)
}

fn sources(directory: &Path, extension: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_stem().and_then(|name| name.to_str()).context("a file's name")?;
            found.push((name.to_owned(), path.clone()));
        }
    }
    Ok(found)
}

/// Compiles all guests, on all CPUs.
fn compile(guests: &[Guest], out: &Path) -> Result<()> {
    let target = &env::var("TARGET")?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = guests.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        let compile = |guests: &[Guest]| -> Result<()> {
            for (name, guest) in guests {
                let artefact = keycell_engine::compiler::compile_component(guest, Some(target))
                    .map_err(|error| anyhow!("compiling {name}: {error:?}"))?;
                fs::write(out.join(name).with_extension("cwasm"), artefact)?;
            }
            Ok(())
        };
        let workers: Vec<_> =
            guests.chunks(share).map(|guests| scope.spawn(move || compile(guests))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a compiler panicked"))?)
    })
}

/// Where each artefact is, and a macro that names them all.
fn list(guests: &[Guest], out: &Path) -> Result<String> {
    let mut text =
        "/// Every fixture and its artefact.\npub const FIXTURES: &[(&str, &str)] = &[\n"
            .to_owned();
    for (name, _) in guests {
        let path = out.join(name).with_extension("cwasm");
        writeln!(text, "    ({name:?}, {:?}),", path.display().to_string())?;
    }
    text += "];\n\n/// Calls `$each!(name)` for every fixture.\n#[macro_export]\n\
        macro_rules! for_each_fixture {\n    ($each:ident) => {\n";
    for (name, _) in guests {
        writeln!(text, "        $each!({name});")?;
    }
    text += "    };\n}\n";
    Ok(text)
}
