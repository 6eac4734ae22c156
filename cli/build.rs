//! Packs the conformance cases, so that `keycell conform` has them wherever it is installed: 2.3 MB
//! of JSON in which keys and layers repeat become less than half a megabyte.

use std::io;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
    println!("cargo::rerun-if-changed={}", root.display());
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let mut list = String::from("&[\n");
    for path in sorted(&root.join("cases"))? {
        let name = path.file_stem().unwrap_or_default().display().to_string();
        let packed = miniz_oxide::deflate::compress_to_vec(&fs::read(&path)?, 9);
        let file = out.join(format!("{name}.deflate"));
        fs::write(&file, packed)?;
        list.push_str(&format!("({name:?}, include_bytes!({file:?})),\n"));
    }
    fs::write(out.join("cases.rs"), list + "]")?;

    let mut list = String::from("&[\n");
    for path in sorted(&root.join("known"))? {
        let name = path.file_name().unwrap_or_default().display().to_string();
        list.push_str(&format!("({name:?}, include_str!({:?})),\n", path.canonicalize()?));
    }
    fs::write(out.join("known.rs"), list + "]")
}

fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
