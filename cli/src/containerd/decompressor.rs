//! The program that containerd decompresses gzip layers with, where a node has one. Otherwise containerd
//! does it itself, with Go's gzip, which takes longer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::Version;

/// The programs in the order in which containerd looks for them in its `PATH`, the first release that does, and
/// the variable of its environment that forbids it.
const PROGRAMS: [(&str, Version, &str); 2] = [
    ("igzip", Version(2, 0, 0), "CONTAINERD_DISABLE_IGZIP"),
    ("unpigz", Version(1, 2, 0), "CONTAINERD_DISABLE_PIGZ"),
];

/// The `PATH` of a service of systemd.
const SERVICE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program that a containerd of this version starts, in the environment of the one that runs.
pub fn decompressor(version: Version) -> Option<PathBuf> {
    find(version, &environment().unwrap_or_default())
}

/// Whether containerd unpacks a layer sooner with this program than with the decoder's `--decompress`, as
/// measured in docs/unpack.md: `igzip` does, `unpigz` does not.
pub fn is_faster_than_decoder(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == PROGRAMS[0].0)
}

fn find(version: Version, environment: &[OsString]) -> Option<PathBuf> {
    let variable = |name: &str| {
        environment.iter().find_map(|entry| entry.to_str()?.strip_prefix(name)?.strip_prefix('='))
    };
    let path = variable("PATH").unwrap_or(SERVICE_PATH);
    let programs = PROGRAMS
        .iter()
        .filter(|(_, since, forbids)| version >= *since && !variable(forbids).is_some_and(is_true));
    let mut places = programs
        .flat_map(|(name, ..)| env::split_paths(path).map(move |directory| directory.join(name)));
    places.find(|file| is_program(file))
}

/// The words that Go's `strconv.ParseBool` takes for true.
fn is_true(value: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].contains(&value)
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The environment of the containerd that runs, if there is one and this user may read it.
fn environment() -> Option<Vec<OsString>> {
    let is_containerd = |process: &Path| {
        fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "containerd")
    };
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let environment = processes
        .filter(|process| is_containerd(process))
        .find_map(|process| fs::read(process.join("environ")).ok())?;
    let entries = environment.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    Some(entries.map(|entry| OsString::from_vec(entry.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    #[test]
    fn the_first_program_that_is_allowed_is_found() -> Result<()> {
        let dir = tempfile::tempdir()?;
        for (name, mode) in [("igzip", 0o755), ("unpigz", 0o755), ("pigz", 0o755)] {
            fs::write(dir.path().join(name), "")?;
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode))?;
        }
        let with = |version, variables: &[&str]| {
            let path = format!("PATH=/nowhere:{}", dir.path().display());
            let environment = variables.iter().copied().chain([path.as_str()]);
            let found = find(version, &environment.map(OsString::from).collect::<Vec<_>>());
            found.and_then(|file| Some(file.file_name()?.to_str()?.to_owned()))
        };
        let (old, new) = (Version(1, 6, 20), Version(2, 3, 4));
        assert_eq!(with(new, &[]).as_deref(), Some("igzip"));
        assert_eq!(with(old, &[]).as_deref(), Some("unpigz"), "1.x does not know igzip");
        let no_igzip = "CONTAINERD_DISABLE_IGZIP=1";
        assert_eq!(with(new, &[no_igzip]).as_deref(), Some("unpigz"));
        assert_eq!(with(new, &["CONTAINERD_DISABLE_IGZIP=no"]).as_deref(), Some("igzip"));
        assert_eq!(with(new, &[no_igzip, "CONTAINERD_DISABLE_PIGZ=true"]), None);
        fs::set_permissions(dir.path().join("igzip"), fs::Permissions::from_mode(0o644))?;
        assert_eq!(with(new, &[]).as_deref(), Some("unpigz"), "igzip is no program");
        let is_faster =
            ["igzip", "unpigz"].map(|name| is_faster_than_decoder(&dir.path().join(name)));
        assert_eq!(is_faster, [true, false]);
        Ok(())
    }
}
