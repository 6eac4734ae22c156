//! The program that containerd decompresses gzip layers with, where a node has one. Otherwise containerd
//! does it itself, with Go's gzip, which takes longer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Version;
use super::running::{Running, search_path};

/// The programs in the order in which containerd looks for them in its `PATH`, the first release that does, and
/// the variable of its environment that forbids it.
const PROGRAMS: [(&str, Version, &str); 2] = [
    ("igzip", Version(2, 0, 0), "CONTAINERD_DISABLE_IGZIP"),
    ("unpigz", Version(1, 2, 0), "CONTAINERD_DISABLE_PIGZ"),
];

/// The program that a containerd of this version starts, in the environment of the one that runs.
pub fn decompressor(version: Version, running: Option<&Running>) -> Option<PathBuf> {
    let is_forbidden = |name: &str| {
        let value = running.and_then(|running| running.variable(name)?.to_str());
        value.is_some_and(is_true)
    };
    let programs =
        PROGRAMS.iter().filter(|(_, since, forbids)| version >= *since && !is_forbidden(forbids));
    let directories = search_path(running);
    let mut places = programs
        .flat_map(|(name, ..)| directories.iter().map(move |directory| directory.join(name)));
    places.find(|file| is_program(file))
}

/// Whether containerd unpacks a layer sooner with this program than with the decoder's `--decompress`, as
/// measured in docs/unpack.md: `igzip` does, `unpigz` does not.
pub fn is_faster_than_decoder(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == PROGRAMS[0].0)
}

/// The words that Go's `strconv.ParseBool` takes for true.
fn is_true(value: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].contains(&value)
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

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
            let running = Running {
                environment: environment.map(OsString::from).collect(),
                ..Running::default()
            };
            let found = decompressor(version, Some(&running));
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
