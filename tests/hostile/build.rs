//! Builds the hostile guests, compiles them for the host's engine, and lists them all: the list is
//! a macro, so that a fixture without a test does not compile.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use keycell_nested_build::{Cargo, Use, compile_components, write_component};
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

    let mut names = from_rust(root, &out)?;
    names.extend(from_text(root, here, &out)?);
    names.sort();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    compile_components(root, &out, &names, Use::Installed)?;
    let embedded = out.join("embedded");
    fs::create_dir_all(&embedded)?;
    for name in UNINTERRUPTED {
        fs::copy(
            out.join(name).with_extension("wasm"),
            embedded.join(name).with_extension("wasm"),
        )?;
    }
    compile_components(root, &embedded, &UNINTERRUPTED, Use::Embedded)?;
    fs::write(out.join("fixtures.rs"), list(&names, &out)?)?;
    Ok(())
}

/// Guests that do not end. They are also compiled as the embedded guest is, which no epoch interrupts.
const UNINTERRUPTED: [&str; 5] = [
    "unwrap_loops",
    "decrypt_loops",
    "decrypt_loops_at_the_end",
    "decrypt_writes_nothing",
    "decrypt_reads_nothing",
];

/// `guests/examples/*.rs`.
fn from_rust(root: &Path, out: &Path) -> Result<Vec<String>> {
    let built = Cargo::new(root, "build", "wasm32-wasip2", "hostile")?
        .args(&["--release", "--package", "keycell-hostile-guests", "--examples"])
        // They run for milliseconds: what counts is how soon they are built.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .run(
            "the guests were not built; their target comes with `rustup target add wasm32-wasip2`",
        )?
        .join("release/examples");
    let mut names = Vec::new();
    for (name, _) in sources(&root.join("tests/hostile/guests/examples"), "rs")? {
        let guest = fs::read(built.join(&name).with_extension("wasm"));
        let guest = guest.with_context(|| format!("`{name}` is not in Cargo.toml"))?;
        write_component(out, &name, &guest)?;
        names.push(name);
    }
    Ok(names)
}

/// `guests/text/*.wat`: what no language's compiler makes. Each is the module that has the steps; what
/// else its component holds is in a file of the same name in `beside/`.
fn from_text(root: &Path, here: &Path, out: &Path) -> Result<Vec<String>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root.join("wit"))?;
    let world = resolve.select_world(&[package], Some("decoder"))?;
    let mut names = Vec::new();
    for (name, path) in sources(&here.join("guests/text"), "wat")? {
        let mut module = wat::parse_file(&path)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        let component = ComponentEncoder::default().module(&module)?.validate(true).encode();
        let component = component.with_context(|| name.clone())?;
        let beside = here.join("guests/text/beside").join(&name).with_extension("wat");
        let component = match fs::read_to_string(beside) {
            Ok(text) => with(&component, &text).with_context(|| name.clone())?,
            Err(_) => component,
        };
        write_component(out, &name, &component)?;
        names.push(name);
    }
    Ok(names)
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

/// Where each artefact is, and a macro that names them all.
fn list(names: &[&str], out: &Path) -> Result<String> {
    let mut text =
        "/// Every fixture and its artefact.\npub const FIXTURES: &[(&str, &str)] = &[\n"
            .to_owned();
    for name in names {
        let path = out.join(name).with_extension("cwasm");
        writeln!(text, "    ({name:?}, {:?}),", path.display().to_string())?;
    }
    text += "];\n\n/// Calls `$each!(name)` for every fixture.\n#[macro_export]\n\
        macro_rules! for_each_fixture {\n    ($each:ident) => {\n";
    for name in names {
        writeln!(text, "        $each!({name});")?;
    }
    text += "    };\n}\n";
    Ok(text)
}
